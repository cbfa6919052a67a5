"""Sheets: pictures and their captions in their places; truth left, what was found right, drawn as `detect` draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from maskline_show.picture import PALETTE
from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.predict import write_sheet
from maskline_train.evaluation.sheet import CAPTION_PX, GAP_PX, contact_sheet
from PIL import Image
from support.data.shapes_data import write_shapes


def test_pictures_lie_row_by_row_at_the_top_of_their_tiles():
    tiles = [Image.new("RGB", size, (i, 0, 0)) for i, size in ((10, (40, 20)), (20, (20, 10)), (30, (40, 20)))]
    sheet = np.asarray(contact_sheet(tiles, 2))
    assert sheet.shape == (40 + GAP_PX, 80 + GAP_PX, 3)
    second = sheet[:20, 40 + GAP_PX :]
    assert (second[:10, 10:30] == (20, 0, 0)).all()
    assert (second[10:] == 255).all()
    assert (second[:, :10] == 255).all()
    assert (sheet[20 + GAP_PX :, :40] == (30, 0, 0)).all()
    assert (sheet[20 + GAP_PX :, 40:] == 255).all()


def test_a_caption_stays_above_its_picture():
    tiles = [Image.new("RGB", (60, 20), (0, 0, 255))] * 2
    sheet = np.asarray(contact_sheet(tiles, 2, ["a caption that is far too long for its tile", ""]))
    above = CAPTION_PX + GAP_PX
    assert sheet.shape == (20 + above, 120 + GAP_PX, 3)
    assert sheet[:above, :60].min() < 100
    assert (sheet[:above, 60:] == 255).all()
    assert (sheet[above:, :60] == (0, 0, 255)).all()


@pytest.mark.parametrize(("pictures", "columns", "captions"), [(0, 2, None), (1, 0, None), (1, 1, ["a", "b"])])
def test_what_makes_no_sheet_is_refused(pictures: int, columns: int, captions: list[str] | None):
    with pytest.raises(ValueError, match="at least 1 each"):
        contact_sheet([Image.new("RGB", (8, 8))] * pictures, columns, captions)


def test_truth_is_left_and_what_was_found_right_each_enlarged_so_that_its_label_can_be_read(tmp_path: Path):
    dataset = CocoDataset(write_shapes(tmp_path / "shapes", {"val": 3}), "val")
    index = next(i for i in range(3) if len(dataset.objects(i).labels))
    box, label = dataset.objects(index).boxes[0], int(dataset.objects(index).labels[0])
    result = {"image_id": dataset.image_ids[index], "category_id": dataset.category_ids[1 - label], "score": 0.9}
    x0, y0, x1, y1 = (float(value) for value in box)
    results = [{**result, "bbox": [x0, y0, x1 - x0, y1 - y0]}, {**result, "bbox": [0, 0, 5, 5], "score": 0.49}]
    write_sheet(tmp_path / "pictures" / "sheet.png", dataset, results, 3)
    sheet = np.asarray(Image.open(tmp_path / "pictures" / "sheet.png")).astype(int)
    height, width = (side * 480 // min(dataset.sizes[index]) for side in dataset.sizes[index])
    above = CAPTION_PX + GAP_PX
    assert sheet.shape == (2 * (above + height) + GAP_PX, 4 * width + 3 * GAP_PX, 3)
    scale = width / dataset.sizes[index][1]
    top, left = index // 2 * (above + height + GAP_PX) + above, index % 2 * 2 * (width + GAP_PX)
    for side, colour in ((left, PALETTE[label]), (left + width + GAP_PX, PALETTE[1 - label])):
        line = sheet[top + int((y0 + y1) / 2 * scale), side + int(x0 * scale) :][:3]
        assert np.abs(line - colour).max(axis=1).min() <= 25  # a box's line is opaque but for 20 of 255
