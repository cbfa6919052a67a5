"""Server-side masks: the pasted pixels against the float64 oracle, the text against pycocotools, the memory bounded."""

from __future__ import annotations

import tracemalloc
import zlib

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_host import mask_rle
from pycocotools import mask as coco
from support.serving import model_files

rle = model_files.load("models/postprocess/1/rle.py")

# Values this near to 0.5 may fall on either side by rounding: sums of products of numbers up to 1 in float64 err by
# less than 1e-13, and the server counts what is within 2^-28 (4e-9) below as 0.5 (rle.RULES).
TIE = 8e-9


def decoded(counts: bytes, size: tuple[int, int]) -> np.ndarray:
    return coco.decode({"size": list(size), "counts": counts}).astype(bool)


def assert_right(mask: np.ndarray, box: list[float], size: tuple[int, int]) -> np.ndarray:
    """The encoded mask has the oracle's pixels and pycocotools' bytes; returns its pixels."""
    counts = rle.encode_mask(mask, box, size)
    pixels = decoded(counts, size)
    values = reference.paste_values(mask, box, size)
    wrong = (pixels != (values >= 0.5)) & (np.abs(values - 0.5) > TIE)
    assert not wrong.any(), np.argwhere(wrong)
    assert counts == coco.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"]
    return pixels


def random_mask(rng: np.random.Generator, side: int, kind: str) -> np.ndarray:
    values = {
        "noise": lambda: rng.random((side, side)),
        "checks": lambda: rng.integers(0, 2, (side, side)),
        "solid": lambda: np.ones((side, side)),
        "near the threshold": lambda: 0.5 + rng.integers(-8, 8, (side, side)) * 2.0**-25,
    }[kind]()
    return values.astype(np.float32)


@pytest.mark.parametrize("kind", ["noise", "checks", "solid", "near the threshold"])
@pytest.mark.parametrize("side", [1, 2, 7, 28])
def test_random_boxes_in_and_out_of_frame(kind: str, side: int) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{kind} {side}".encode()))
    for _ in range(12):
        height, width = (int(n) for n in rng.integers(1, 40, 2))
        low = rng.uniform(-15, 30, 2)
        high = low + rng.choice([0.3, 3.0, 15.0, 60.0], 2) * rng.uniform(0.2, 1, 2)
        box = np.array([*low, *high], np.float32).tolist()
        assert_right(random_mask(rng, side, kind), box, (height, width))


EDGES = {  # box xyxy in a picture of 12 x 10 (h x w)
    "the whole picture": [0, 0, 10, 12],
    "beyond all sides": [-5, -6, 17, 19],
    "touching the top": [2, 0, 6, 5],
    "touching the bottom": [2, 7, 6, 12],
    "top to bottom: runs go on over the ends of columns": [3, 0, 7, 12],
    "last pixel": [9, 11, 10, 12],
    "first pixel": [0, 0, 1, 1],
    "one row": [0, 4, 10, 5],
    "one column": [4, 0, 5, 12],
    "between two centres, so without a pixel": [4.6, 4.6, 5.4, 5.4],
    "edges through pixel centres": [1.5, 2.5, 6.5, 8.5],
    "left of the frame": [-8, 2, -1, 6],
    "below the frame": [2, 20, 6, 30],
    "no width": [4, 2, 4, 8],
    "no height": [2, 4, 8, 4],
    "inside out": [8, 8, 2, 2],
}


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("kind", ["solid", "checks", "noise"])
def test_edges(name: str, kind: str) -> None:
    assert_right(random_mask(np.random.default_rng(3), 4, kind), EDGES[name], (12, 10))


def test_a_solid_mask_fills_its_box() -> None:
    # Cells are smaller than pixels here: each centre lies deep inside the grid, so none is lost to the zeros around it.
    pixels = assert_right(np.ones((28, 28), np.float32), [2, 3, 9, 11], (12, 10))
    assert pixels[3:11, 2:9].all()
    assert pixels.sum() == 8 * 7


def test_exact_ties_belong_to_the_object() -> None:
    # Two cells, 1 and 0, over three pixels: the middle one has exactly 0.5, and belongs to the object.
    mask = np.array([[1, 0], [1, 0]], np.float32)
    assert_right(mask, [0, 0, 3, 3], (3, 3))
    assert decoded(rle.encode_mask(mask, [0, 0, 3, 3], (3, 3)), (3, 3))[1].tolist() == [True, True, False]
    assert decoded(rle.encode_mask(mask.T, [0, 0, 3, 3], (3, 3)), (3, 3))[:, 1].tolist() == [True, True, False]


@pytest.mark.parametrize(
    "mask", [np.zeros((28, 28)), np.full((28, 28), 0.5 - 2.0**-25)], ids=["zero", "just below one half"]
)
def test_an_empty_mask_is_one_run_of_zeros(mask: np.ndarray) -> None:
    counts = rle.encode_mask(mask.astype(np.float32), [0, 0, 30, 20], (20, 30))
    assert counts == coco.encode(np.zeros((20, 30), np.uint8, order="F"))["counts"]


def test_a_one_pixel_picture() -> None:
    assert_right(np.ones((28, 28), np.float32), [0, 0, 1, 1], (1, 1))
    assert_right(np.zeros((28, 28), np.float32), [0, 0, 1, 1], (1, 1))


def test_boxes_that_are_not_numbers_give_the_empty_mask() -> None:
    counts = rle.encode_mask(np.ones((28, 28), np.float32), [float("nan")] * 4, (5, 6))
    assert not decoded(counts, (5, 6)).any()


# pycocotools has room for six characters a count, and none for the zero at the end of its text. It writes beyond its
# buffer when a difference of counts needs seven, so all are below 2**29, and when every count needs six, so the first
# one is 0. Such a write aborted the whole process, once in many runs.
@given(st.lists(st.integers(0, 2**29 - 1), max_size=60))
def test_counts_are_written_as_pycocotools_writes_them(drawn: list[int]) -> None:
    counts = [0, *drawn]
    size = [1, int(sum(counts))]
    expected = coco.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    assert rle.compress_counts(np.array(counts, np.int64)) == expected


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.integers(1, 8))
@settings(max_examples=200)
def test_any_pixels_give_the_oracles_counts(bits: list[bool], height: int) -> None:
    pixels = np.array(bits[: max(1, len(bits) // height) * height][: len(bits)])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels.astype(int), [0]])))
    counts = rle.runs_to_counts(edges[::2], edges[1::2], len(pixels))
    assert counts.tolist() == reference.encode_rle(pixels[:, None])


def test_touching_runs_are_joined() -> None:
    counts = rle.runs_to_counts(np.array([2, 5, 9]), np.array([5, 7, 10]), 10)
    assert counts.tolist() == [2, 5, 2, 1]


def test_a_hundred_objects_on_twelve_megapixels_take_little_memory() -> None:
    """The issue's limit is 100 MB; the runs of one object take a few, whatever the size of the picture."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    disc = np.clip(1.5 - np.hypot(y, x), 0, 1).astype(np.float32)
    size = (3000, 4000)
    boxes = [[i * 3.0, i * 2.0, 4000.0 - i, 3000.0 - i] for i in range(100)]
    tracemalloc.start()
    counts = [rle.encode_mask(disc, box, size) for box in boxes]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    # The value is one half on an ellipse through the centres of the outermost cells: 27 / 28 of the box in diameter.
    expected = np.pi / 4 * (27 / 28) ** 2 * 12e6
    assert coco.area({"size": list(size), "counts": counts[0]}) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("paste", ["aligned", "detectron"])
@pytest.mark.parametrize(
    "box", [[1e20, 0, 2e20, 9], [0, 1e30, 9, 3e38], [-3e38, 0, -1e30, 9], [-3e38, -3e38, 3e38, 3e38]]
)
def test_boxes_however_far_away_are_those_of_the_library(box: list[float], paste: str) -> None:
    mask = np.ones((7, 7), np.float32)
    single = np.array([box], np.float32)
    assert (
        rle.encode_mask(mask, single[0], (9, 9), paste) == mask_rle.encode(mask[None], single, (9, 9), paste=paste)[0]
    )
