"""What a notebook shows of an answer: a PNG of its objects, of a size that a notebook has room for."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from maskline_client import Detections, rle
from maskline_show.picture import PALETTE
from PIL import Image


def two_squares(size: tuple[int, int]) -> Detections:
    """Two objects of one class, [h, w] of a picture: the middle of its left and of its right half."""
    height, width = size
    boxes = np.array([[0.1, 0.3, 0.4, 0.9], [0.6, 0.3, 0.9, 0.9]]) * [width, height, width, height]
    masks = []
    for x0, y0, x1, y1 in boxes.round().astype(int):
        mask = np.zeros(size, bool)
        mask[y0:y1, x0:x1] = True
        masks.append(mask)
    return Detections(
        boxes=boxes.astype(np.float32),
        scores=np.array([0.9, 0.8], np.float32),
        labels=np.array([5, 5], np.int32),
        names=("star", "star"),
        rle=tuple(map(rle.from_mask, masks)),
        image_size=size,
    )


def shown(found: Detections) -> np.ndarray:
    picture = Image.open(BytesIO(found._repr_png_()))
    assert picture.format == "PNG"
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (480, 640)),  # as it is
        ((60, 80), (480, 640)),  # enlarged, so that labels fit
        ((3001, 4000), (751, 1000)),  # every fourth pixel, the last row included
        ((1, 20_000), (1, 1000)),  # the longest side that is served
    ],
)
def test_the_picture_has_a_size_to_look_at(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert shown(two_squares(size)).shape == (*expected, 3)


@pytest.mark.parametrize("size", [(60, 80), (480, 640), (3000, 4000)], ids=["enlarged", "as it is", "thinned"])
def test_each_object_lies_where_it_was_found_in_a_colour_of_its_own(size: tuple[int, int]) -> None:
    picture = shown(two_squares(size))
    height, width = picture.shape[:2]
    ground = picture[height // 20, width // 2]
    assert (picture[height * 19 // 20] == ground).all()  # below both
    for middle, colour in ((0.25, PALETTE[0]), (0.75, PALETTE[1])):
        inside = picture[height * 6 // 10, int(width * middle)]
        # The fill is 0.42 of the colour; alpha is a whole number of 255ths.
        assert np.abs(inside - (ground + (np.array(colour) - ground) * 0.42)).max() <= 2


def test_boxes_and_keypoints_are_thinned_with_the_rest() -> None:
    size = (3000, 4000)
    keypoints = np.array([[[1000, 1800, 1]], [[3000, 1800, 1]]], np.float32)
    found = dataclasses.replace(two_squares(size), rle=None, keypoints=keypoints, keypoint_names=("middle",))
    picture = shown(found)
    for left, middle, colour in ((100, 250, PALETTE[0]), (600, 750, PALETTE[1])):
        assert np.abs(picture[400, left] - colour).max() <= 20  # the line of a box is opaque but for 20 of 255
        assert tuple(picture[450, middle]) == PALETTE[0]  # the dot of the first keypoint


def test_no_object_is_plain_ground() -> None:
    picture = shown(two_squares((60, 80)).filter(min_score=1))
    assert (picture == picture[0, 0]).all()
