"""Objects of small and of large pictures, drawn at a size to look at."""

import dataclasses

import numpy as np
import pytest
from maskline_client import Detections, rle
from maskline_show.picture import PALETTE
from maskline_show.thinned import Thinned, draw_within
from maskline_show.window import Window, draw_one
from PIL import Image


def one_object(size: tuple[int, int]) -> Detections:
    """One that fills the middle, half of each side."""
    height, width = size
    mask = np.zeros(size, bool)
    mask[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = True
    return Detections(
        boxes=np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]], np.float32),
        scores=np.array([0.87], np.float32),
        labels=np.array([0], np.int32),
        names=("cat",),
        rle=(rle.from_mask(mask),),
        image_size=size,
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (512, 512)),  # 8 times, as `detect` does it
        ((256, 256), (512, 512)),
        ((100, 600), (100, 600)),  # enlarged it would be wider than asked for
        ((480, 640), (480, 640)),
        ((1333, 2000), (427, 640)),  # smaller, the last row included
        ((1, 6400), (1, 640)),
    ],
)
def test_a_picture_has_at_most_the_size_asked_for(size: tuple[int, int], expected: tuple[int, int]) -> None:
    picture = draw_within(Image.new("RGB", size[::-1]), one_object(size), 640)
    assert (picture.height, picture.width) == expected


@pytest.mark.parametrize("size", [(64, 64), (1500, 2000)], ids=["enlarged", "made smaller"])
def test_a_label_has_letters_of_one_size_and_the_object_is_where_it_was(size: tuple[int, int]) -> None:
    height, width = (512, 512) if size == (64, 64) else (480, 640)
    picture = np.asarray(draw_within(Image.new("RGB", size[::-1]), one_object(size), 640)).astype(int)
    tag = (np.abs(picture - PALETTE[0]).max(axis=2) < 30)[: height // 4 - 2]  # all of that colour above the box
    rows = np.flatnonzero(tag.any(axis=1))
    assert 15 <= len(rows) <= 30  # a line of text of 13 or 14 px and its margins
    inside = picture[height // 2, width // 2]
    assert np.abs(inside - np.array(PALETTE[0]) * 0.42).max() <= 2  # of black ground; alpha is a whole number of 255ths
    assert not picture[height * 9 // 10].any()


def test_a_mask_is_thinned_to_the_pixels_in_the_middle() -> None:
    mask = np.zeros((6, 9), bool)
    mask[1::3, 1::3] = True  # the middle of each 3 x 3
    found = dataclasses.replace(one_object((6, 9)), rle=(rle.from_mask(mask),))
    thin = Thinned(found, 3)
    assert thin.image_size == (2, 3)
    assert thin.mask(0).all()
    assert np.allclose(thin.boxes, found.boxes / 3)


class WithoutScores:
    """Ground truth has none."""

    scores = None

    def __init__(self, found: Detections) -> None:
        self._found = found

    def __getattr__(self, name: str) -> object:
        return getattr(self._found, name)


def test_ground_truth_has_labels_of_names_alone() -> None:
    found = one_object((480, 640))
    ground = Image.new("RGB", (640, 480))
    scored, bare = (np.asarray(draw_within(ground, drawn, 640)) for drawn in (found, WithoutScores(found)))
    assert np.array_equal(scored[120:], bare[120:])  # from the box's upper edge on
    widths = [np.flatnonzero(picture[:110].any(axis=(0, 2))) for picture in (scored, bare)]
    assert len(widths[0]) > len(widths[1]) > 10  # "cat · 87%" and "cat"


def test_one_object_is_cut_out_with_what_is_around_it_and_no_other_is_drawn() -> None:
    """Of two objects the second, 40 px wide and 20 high: 30 px around it, as far as the picture goes."""
    size = (200, 300)
    masks = np.zeros((2, *size), bool)
    masks[0, 150:170, 40:80] = True
    masks[1, 180:200, 100:140] = True
    found = dataclasses.replace(
        one_object(size),
        boxes=np.array([[40, 150, 80, 170], [100, 180, 140, 200]], np.float32),
        scores=np.array([0.9, 0.8], np.float32),
        labels=np.array([0, 1], np.int32),
        names=("cat", "dog"),
        rle=tuple(map(rle.from_mask, masks)),
    )
    window = Window(found, 1)
    assert window.place == (70, 150, 170, 200)
    assert window.boxes.tolist() == [[30, 30, 70, 50]]
    assert window.mask(0).sum() == 800
    assert window.mask(0)[30:50, 30:70].all()
    picture = np.asarray(draw_one(Image.new("RGB", (300, 200)), found, 1, 100)).astype(int)
    assert picture.shape == (50, 100, 3)
    assert (np.abs(picture - PALETTE[1]).max(axis=2) < 30).any()
    assert not (np.abs(picture - PALETTE[0]).max(axis=2) < 30).any()
    assert not picture[:10, 85:].any()  # plain ground where nothing is
