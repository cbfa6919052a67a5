"""COCO's compressed run lengths against pycocotools, and against the loops of the oracle."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from maskline_client import rle
from pycocotools import mask as coco
from reference import encode_rle

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


def coco_rle(mask: np.ndarray) -> bytes:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


@settings(max_examples=150, deadline=None)
@given(masks)
def test_encoding_is_byte_for_byte_that_of_pycocotools(mask: np.ndarray) -> None:
    assert rle.from_mask(mask) == coco_rle(mask)


@settings(max_examples=150, deadline=None)
@given(masks)
def test_decoding_what_pycocotools_wrote_gives_the_mask_and_its_area(mask: np.ndarray) -> None:
    text = coco_rle(mask)
    np.testing.assert_array_equal(rle.to_mask(text, mask.shape), mask)
    assert rle.area(text) == mask.sum()


@settings(max_examples=150, deadline=None)
@given(masks)
def test_bounds_are_the_first_and_the_last_row_and_column_of_the_mask(mask: np.ndarray) -> None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    expected = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if len(rows) else (0, 0, 0, 0)
    assert rle.bounds(rle.from_mask(mask), mask.shape) == expected


def test_bounds_in_another_image_size_are_refused() -> None:
    with pytest.raises(ValueError, match="got 15 pixels, expected 16 for an image of 4x4"):
        rle.bounds(coco_rle(np.eye(3, 5)), (4, 4))


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((3, 5), bool),  # no object: one run of zeros
        np.ones((3, 5), bool),  # begins with the object: a first run of length 0
        np.eye(7, dtype=bool),  # differences of 0
        np.arange(300 * 200).reshape(300, 200) > 45_000,  # long runs: several characters, negative differences
    ],
)
def test_decoded_counts_are_the_runs_of_the_definition(mask: np.ndarray) -> None:
    assert rle.decode_counts(coco_rle(mask)).tolist() == encode_rle(mask)
    assert rle.encode_counts(encode_rle(mask)) == coco_rle(mask)


def test_a_photograph_sized_mask_goes_there_and_back() -> None:
    rows, columns = np.mgrid[:3000, :4000]
    mask = (rows - 1500) ** 2 + (columns - 2100) ** 2 < 900**2
    text = rle.from_mask(mask)
    assert text == coco_rle(mask)
    np.testing.assert_array_equal(rle.to_mask(text, mask.shape), mask)


@pytest.mark.parametrize("text", [b"\x10", b"\xff\xff", b"4P", b"PPPPPPPPPP1", b"1O"])
def test_what_is_no_rle_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="RLE: got"):
        rle.to_mask(text, (4, 4))


def test_a_mask_of_another_image_size_is_refused() -> None:
    with pytest.raises(ValueError, match="got 15 pixels, expected 16 for an image of 4x4"):
        rle.to_mask(coco_rle(np.eye(3, 5)), (4, 4))


def test_no_counts_are_an_empty_string() -> None:
    assert rle.encode_counts([]) == b""
    assert rle.decode_counts(b"").size == 0


HUGE = rle.encode_counts([2**34 - 1])  # 7 characters


@pytest.mark.parametrize("text", [HUGE, HUGE + HUGE, b"0" + HUGE])
def test_a_run_of_more_pixels_than_an_image_has_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^RLE: got a run of \d+ pixels, expected runs of 0 to 2147483647$"):
        rle.decode_counts(text)


def test_runs_whose_sum_would_wrap_around_are_refused() -> None:
    # The counts of every second character grow by 2^33 each: their sum is beyond 64 bits after some 65 000 of them.
    growing = rle.encode_counts([0, 0, 0]) + rle.encode_counts([2**33]) * (1 << 17)
    with pytest.raises(ValueError, match="expected runs of 0 to"):
        rle.to_mask(growing, (2, 3))


@pytest.mark.parametrize("size", [(2**17, 2**17), (1, 2**40), (2**31 - 1, 2**31 - 1), (-3, -4)])
def test_a_size_of_no_image_is_refused_before_a_mask_is_made(size: tuple[int, int]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"^RLE: got an image of -?\d+x-?\d+, expected at most 2147483647 pixels$"):
            rle.to_mask(rle.encode_counts([12]), size)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
