"""`data check` warns of what is no mistake and hardly meant."""

from pathlib import Path

import pytest
from maskline_coco.split import read_split
from maskline_coco.suspicions import suspicions
from maskline_train.cli import main
from support.data.coco_files import annotation, square, write
from support.processes.in_process import call

PLACES = [(4.0, 5.0, 6.0), (12.0, 2.0, 8.0), (20.0, 10.0, 5.0), (1.0, 1.0, 4.0)]
ROBOFLOW = [{"id": 0, "name": "animals"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}]


def found(root: Path, boxes: list[list[float]], **changes: object) -> list[str]:
    annotations = [
        annotation(i, bbox=box, segmentation=square(*place))
        for i, (box, place) in enumerate(zip(boxes, PLACES, strict=True))
    ]
    write(root, **{"annotations": annotations, **changes})
    split = read_split(root, "train")
    return list(suspicions(split.records, split.categories))


def good_boxes() -> list[list[float]]:
    return [[x, y, side, side] for x, y, side in PLACES]


def test_a_good_file_rouses_none(tmp_path: Path) -> None:
    assert found(tmp_path, good_boxes()) == []


def test_corners_in_the_place_of_sides(tmp_path: Path) -> None:
    (line,) = found(tmp_path, [[x, y, x + side, y + side] for x, y, side in PLACES])
    assert line.startswith("3 of 4 boxes miss the box around their own mask")  # the last one lies near the origin
    assert "are they [x0, y0, x1, y1]?" in line


def test_centres_in_the_place_of_corners(tmp_path: Path) -> None:
    (line,) = found(tmp_path, [[x + side / 2, y + side / 2, side, side] for x, y, side in PLACES])
    assert "4 of 4 boxes miss" in line
    assert "are they another format?" in line


def test_fractions_of_the_image(tmp_path: Path) -> None:
    lines = found(tmp_path, [[x / 30, y / 20, side / 30, side / 20] for x, y, side in PLACES])
    assert "all 4 boxes are within 0..1" in lines[1]


def test_a_few_odd_boxes_are_no_other_format(tmp_path: Path) -> None:
    assert found(tmp_path, [[0, 0, 30, 20], [0, 0, 30, 20], *good_boxes()[2:]]) == []


@pytest.mark.parametrize("categories", [ROBOFLOW, ROBOFLOW[1:]], ids=["roboflow", "none"])
def test_roboflows_first_category(tmp_path: Path, categories: list[dict], capsys) -> None:
    lines = found(tmp_path, good_boxes(), categories=categories)
    assert len(lines) == (categories is ROBOFLOW)
    assert call(main, "data", "check", str(tmp_path), "--split", "train") == 0
    warning = capsys.readouterr().err
    assert ("warning: " in warning) == (categories is ROBOFLOW)
    if categories is ROBOFLOW:
        assert warning.count("\n") == 1
        assert "'animals' (id 0), has no annotation" in warning


def test_boxes_of_rle_masks_are_compared_too(tmp_path: Path) -> None:
    counts = [20 * 4 + 5, 6, 20 * 26 - 11]  # a line of 6 pixels at x = 4, y = 5
    wrong = [annotation(i, bbox=[20, 1, 5, 5], segmentation={"size": [20, 30], "counts": counts}) for i in range(3)]
    assert "3 of 3 boxes miss" in found(tmp_path, good_boxes(), annotations=wrong)[0]


@pytest.mark.parametrize("annotations", [[], [annotation(1, iscrowd=1)]])
def test_nothing_to_train_on(tmp_path: Path, annotations: list[dict]) -> None:
    """`fit` refuses to train on it, after it has built the model."""
    write(tmp_path, annotations=annotations, categories=[{"id": 3, "name": "cat"}])
    split = read_split(tmp_path, "train")
    (line,) = suspicions(split.records, split.categories)
    assert line.startswith("no image has an object to train on")


def test_a_file_that_two_images_name(tmp_path: Path) -> None:
    images = [{"id": i, "file_name": name, "height": 20, "width": 30} for i, name in ((10, "a.png"), (20, "./a.png"))]
    write(tmp_path, images=images)
    split = read_split(tmp_path, "train")
    (line,) = suspicions(split.records, split.categories)
    assert line.startswith("more than one image has the file a.png (1 such files), expected one entry a file")
