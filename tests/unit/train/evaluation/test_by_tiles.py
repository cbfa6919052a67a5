"""A large picture looked at tile by tile finds what a picture of a tile's size finds there."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from maskline_train.checkpoint import load_model
from maskline_train.cli import main
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import CocoDataset
from maskline_train.data.made.digits import make_digits
from maskline_train.evaluation.by_tiles import Tiling, detect_by_tiles, tiling_of
from maskline_train.evaluation.evaluate import Result, to_results
from maskline_train.model.mask_rcnn import MaskRCNN
from PIL import Image
from pycocotools import mask as coco_mask
from support.processes.in_process import call

BASE = Path(__file__).parents[4] / "demo" / "base"
SIDE = 256
SURE = 0.9  # of the digits, which the base checkpoint has learned to find
LABELS = range(10)


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return load_model(BASE)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Four pictures of one tile each, with digits."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    make_digits(folder, seed=3, train_images=1, val_images=4)
    dataset = CocoDataset(folder, "val")
    found = [dataset.image(index) for index in range(4)]
    return [np.pad(pixels, [(0, SIDE - pixels.shape[0]), (0, SIDE - pixels.shape[1]), (0, 0)]) for pixels in found]


def plain(model: MaskRCNN, picture: np.ndarray) -> list[Result]:
    canvas, info = preprocess_batch([picture], model.spec.preprocessing)
    with torch.no_grad():
        detections = model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
    return to_results(detections, info, [0], LABELS, model.spec.paste)[0]


def test_a_picture_of_one_tile_is_looked_at_as_ever(model: MaskRCNN, pictures: list[np.ndarray]) -> None:
    found = detect_by_tiles(model, Tiling(SIDE, 64), LABELS, pictures[0], 0)
    expected = plain(model, pictures[0])
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one == {**other, "bbox": pytest.approx(other["bbox"], abs=1e-4)}  # sides added and taken off again


def test_four_pictures_side_by_side_give_the_objects_of_each(model: MaskRCNN, pictures: list[np.ndarray]) -> None:
    large = np.concatenate([np.concatenate(pictures[i : i + 2], axis=1) for i in (0, 2)])
    found = detect_by_tiles(model, Tiling(SIDE, 0), LABELS, large, 0)
    assert all(result["segmentation"]["size"] == [2 * SIDE, 2 * SIDE] for result in found)
    seen = 0
    for number, picture in enumerate(pictures):
        y, x = SIDE * (number // 2), SIDE * (number % 2)
        for result in plain(model, picture):
            left, top, width, height = result["bbox"]
            whole = min(left, top) > 3 and max(left + width, top + height) < SIDE - 3  # cut ones may go
            if result["score"] < SURE or not whole:
                continue
            mask = np.zeros(large.shape[:2], np.uint8, order="F")
            mask[y : y + SIDE, x : x + SIDE] = coco_mask.decode(result["segmentation"])
            rle = {"size": [2 * SIDE, 2 * SIDE], "counts": coco_mask.encode(mask)["counts"].decode()}
            same = [other for other in found if other["segmentation"] == rle]
            assert [other["category_id"] for other in same] == [result["category_id"]]
            assert same[0]["bbox"] == pytest.approx([left + x, top + y, width, height], abs=1e-3)
            seen += 1
    assert seen >= 4


def test_evaluate_and_predict_take_tiles(
    pictures: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.concatenate(pictures[:2], axis=1)).save(tmp_path / "large.png")
    words = ("predict", str(BASE), str(tmp_path / "large.png"), "--out", str(tmp_path / "out"), "--tiles", str(SIDE))
    assert call(main, *words) == 0
    with_tiles = capsys.readouterr().out
    assert call(main, *words[:-2]) == 0
    assert capsys.readouterr().out != with_tiles
    make_digits(tmp_path / "set", seed=4, train_images=1, val_images=2, scale=2)
    words = ("evaluate", str(BASE), "--data", str(tmp_path / "set"))
    tiled = (*words, "--tiles", str(SIDE), "--overlap", "128")
    found = []
    for number, command in enumerate((words, tiled)):
        file = tmp_path / f"{number}.json"
        assert call(main, *command, "--json", str(file)) == 0
        found.append(json.loads(file.read_text())["results"])
    assert found[0] != found[1]
    assert {result["image_id"] for result in found[1]} == {1, 2}
    capsys.readouterr()
    assert call(main, *tiled, "--tta") == 1
    assert "more than one of --tta, --rpn and --tiles" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("side", "overlap", "expected"), [(None, None, None), (512, None, (512, 128)), (512, 0, (512, 0))]
)
def test_an_overlap_is_a_quarter_unless_it_is_said(
    side: int | None, overlap: int | None, expected: tuple[int, int] | None
) -> None:
    assert tiling_of(side, overlap) == (expected and Tiling(*expected))


def test_an_overlap_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="got 9 without --tiles"):
        tiling_of(None, 9)
