"""What a report says of an evaluation, on scenes that a person can count: six squares of 20 px on two images."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from maskline_coco.matching import match_in_order
from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import score
from maskline_train.report.findings import NO_THRESHOLD, ClassCount, Findings, find
from PIL import Image
from pycocotools import mask as coco_mask

SIDE = 100
Row = tuple[int, int, float, float, float]  # image, category, x, y, score
CAT, DOG, CROWD = 1, 2, (60, 60)
TRUTH = {1: [(CAT, 0, 0), (CAT, 30, 0), (DOG, 60, 0)], 2: [(CAT, 0, 0), (DOG, 30, 0), (DOG, 60, 0)], 3: []}


def square(x: float, y: float, side: float = 20) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """The squares, on image 2 a crowd of cats, and an image 3 without anything."""
    root = tmp_path_factory.mktemp("counted")
    (root / "annotations").mkdir()
    (root / "val").mkdir()
    annotations: list[dict[str, Any]] = [
        {"image_id": image, "category_id": label, "bbox": [x, y, 20, 20], "segmentation": square(x, y), "iscrowd": 0}
        for image, squares in TRUTH.items()
        for label, x, y in squares
    ]
    region = np.zeros((SIDE, SIDE), np.uint8, order="F")
    region[60:90, 60:90] = 1
    crowd = {"image_id": 2, "category_id": CAT, "bbox": [*CROWD, 30, 30], "segmentation": _rle(region), "iscrowd": 1}
    for key in TRUTH:
        Image.new("RGB", (SIDE, SIDE), (90, 90, 90)).save(root / "val" / f"{key}.png")
    content = {
        "images": [{"id": key, "file_name": f"{key}.png", "height": SIDE, "width": SIDE} for key in TRUTH],
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
        "annotations": [{"id": i, "area": 400, **one} for i, one in enumerate([*annotations, crowd], 1)],
    }
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return CocoDataset(root, "val")


def detection(image: int, label: int, x: float, y: float, sure: float, masks: bool = True) -> dict[str, Any]:
    """A square of 20 px that was found."""
    found = {"image_id": image, "category_id": label, "bbox": [x, y, 20.0, 20.0], "score": sure}
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[int(y) : int(y) + 20, int(x) : int(x) + 20] = 1
    return {**found, "segmentation": _rle(mask)} if masks else found


def _rle(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(mask)
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


FOUND = (
    (1, CAT, 0, 0, 0.95),  # right
    (1, CAT, 0, 1, 0.91),  # the same object once more
    (1, CAT, 60, 0, 0.8),  # a dog
    (2, CAT, 0, 0, 0.85),  # right
    (2, CAT, 64, 64, 0.75),  # in the crowd: tells nothing
    (2, DOG, 30, 0, 0.7),  # right
    (2, DOG, 0, 70, 0.2),  # nothing is there
)


def findings(dataset: CocoDataset, found: tuple[Row, ...], masks: bool = True) -> Findings:
    """Of these detections, best first in each image."""
    results = [detection(*one, masks=masks) for image in TRUTH for one in found if one[0] == image]
    return find(dataset, score(dataset, results, dataset.image_ids, masks=masks))


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "boxes alone"])
def test_objects_and_detections_are_counted_at_the_threshold_of_best_f1(dataset: CocoDataset, masks: bool) -> None:
    """By score 0.95 r, 0.91 w, 0.85 r, 0.8 w, 0.7 r, 0.2 w; F1 = 2 r / (n + 6): 2/7 2/8 4/9 4/10 6/11 6/12."""
    seen = findings(dataset, FOUND, masks)
    assert seen.masks == masks
    assert seen.threshold == pytest.approx(0.7)
    assert seen.classes == (ClassCount(objects=3, found=4, right=2), ClassCount(objects=3, found=1, right=1))
    assert seen.classes[0].precision == 0.5
    assert seen.classes[1].recall == pytest.approx(1 / 3)
    assert seen.confusion == {
        (0, 0): 2,
        (1, 1): 1,
        (1, 0): 1,  # the dog that is called a cat
        (None, 0): 1,  # the cat that was found twice
        (0, None): 1,
        (1, None): 1,
    }
    assert [point[0] for point in seen.curve] == pytest.approx([0.95, 0.91, 0.85, 0.8, 0.7, 0.2])
    assert seen.curve[-1][1:] == pytest.approx((3 / 6, 3 / 6))


def test_calibration_is_the_distance_of_scores_and_shares(dataset: CocoDataset) -> None:
    """Tenths: 0.2 (1: none right), 0.7 (1: right), 0.8 and 0.85 (one right), 0.91 and 0.95 (one right)."""
    seen = findings(dataset, FOUND)
    assert [(one.count, one.right) for one in seen.bins] == [(1, 0.0), (1, 1.0), (2, 0.5), (2, 0.5)]
    assert [one.score for one in seen.bins] == pytest.approx([0.2, 0.7, 0.825, 0.93])
    assert seen.calibration_error == pytest.approx((0.2 + 0.3 + 2 * 0.325 + 2 * 0.43) / 6)


def test_images_are_ranked_and_what_went_wrong_is_named(dataset: CocoDataset) -> None:
    """Image 1: 1 hit, 2 wrong, 2 left: 1/5. Image 2: 2 hits, 1 left: 2/3. Image 3 has nothing to be right about."""
    seen = findings(dataset, FOUND)
    assert [index for index, _ in seen.worst] == [0, 1]
    assert [likeness for _, likeness in seen.worst] == pytest.approx([0.2, 2 / 3])
    assert seen.best == ()  # none that is not among the worst
    assert [(one.index, one.row) for one in seen.missed] == [(0, 1), (1, 2)]
    assert seen.missed[0].weight == pytest.approx(0.04)  # 20 x 20 of 100 x 100
    assert [(one.index, one.row, one.other) for one in seen.false] == [(0, 1, None), (0, 2, 1)]


def test_results_that_find_nothing_and_none_at_all_are_said_to_be_so(dataset: CocoDataset) -> None:
    for found in ((), ((3, CAT, 0, 0, 0.9),)):
        seen = findings(dataset, found)
        assert seen.threshold == NO_THRESHOLD
        assert seen.curve == ()
        assert [one.right for one in seen.classes] == [0, 0]
        assert len(seen.missed) == 6
        assert len(seen.false) == len(found)
        assert (seen.calibration_error is None) == (not found)


def test_rows_choose_in_their_order_and_columns_are_taken_once() -> None:
    """The first row takes its best; the second would, too, and gets what is left; the third has none left."""
    overlaps = np.array([[0.6, 0.7], [0.65, 0.9], [0.8, 0.55]])
    assert match_in_order(overlaps, 0.5).tolist() == [1, 0, -1]
    assert match_in_order(overlaps[:2], 0.5).tolist() == [1, 0]  # those behind change nothing
    assert match_in_order(overlaps, 0.66).tolist() == [1, -1, 0]
    assert match_in_order(np.zeros((2, 0)), 0.5).tolist() == [-1, -1]
