"""Crops are whole masks, pixel for pixel: read from polygons and run lengths, resized, mirrored, packed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from maskline_coco.segmentation import decode_counts, to_rle
from maskline_train.data.masks.crops import NOTHING, MaskCrops, pack, resized, tight
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.data.masks.runs import run_lengths
from PIL import Image
from pycocotools import mask as coco_mask

MANY = settings(max_examples=150, deadline=None)
SIDES = st.integers(1, 70)


def polygons(rng: np.random.Generator, height: int, width: int) -> list[list[float]]:
    """One to three outlines, some beyond the image; coordinates on tenths meet pycocotools' ties."""
    return [
        np.round(rng.uniform(-0.2, 1.2, (int(rng.integers(3, 12)), 2)) * (width, height), 1).ravel().tolist()
        for _ in range(int(rng.integers(1, 4)))
    ]


def runs(rng: np.random.Generator, height: int, width: int) -> dict:
    """A crowd's uncompressed run lengths: runs over several columns, and some of no pixel."""
    cuts = np.sort(rng.integers(0, height * width + 1, int(rng.integers(0, 12))))
    return {
        "size": [height, width],
        "counts": np.diff(np.concatenate([[0], cuts, [height * width]])).tolist(),
    }


def noise(rng: np.random.Generator, height: int, width: int) -> dict:
    """As a file has it: compressed, a text."""
    mask = rng.random((height, width)) < rng.choice([0.0, 0.01, 0.5, 1.0])
    return {"size": [height, width], "counts": coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()}


@st.composite
def rle_masks(draw: st.DrawFn) -> RleMasks:
    """Up to five masks of an image of 1 x 1 to 70 x 70."""
    height, width = draw(SIDES), draw(SIDES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = draw(st.lists(st.sampled_from([polygons, runs, noise]), max_size=5))
    return RleMasks([to_rle(kind(rng, height, width), height, width) for kind in kinds], (height, width))


def of(masks: RleMasks) -> MaskCrops:
    return MaskCrops(tuple(masks.crops), masks.size)


def assert_tight(masks: MaskCrops) -> None:
    for crop, whole in zip(masks.crops, masks, strict=True):
        rows, columns = np.nonzero(whole)
        if len(rows):
            wanted = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert (crop.x0, crop.y0, *crop.pixels.shape[::-1]) == wanted
        else:
            assert crop.pixels.size == 0


@given(rle_masks())
@MANY
def test_crops_of_run_lengths_are_what_pycocotools_draws(masks: RleMasks) -> None:
    crops = of(masks)
    assert np.array_equal(crops.array(), masks.array())
    assert all(np.array_equal(one, two) for one, two in zip(crops, masks, strict=True))
    assert_tight(crops)


@given(rle_masks(), st.integers(1, 200), st.integers(1, 200), st.booleans())
@MANY
def test_a_resized_and_mirrored_crop_is_the_resized_and_mirrored_mask(
    masks: RleMasks, height: int, width: int, flip: bool
) -> None:
    found = resized(masks.crops, masks.size, (height, width))
    wanted = [
        np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)) for mask in masks.array()
    ]
    if flip:
        found, wanted = found.flipped(), [mask[:, ::-1] for mask in wanted]
    assert np.array_equal(found.array(), np.array(wanted, np.uint8).reshape(-1, height, width))
    assert_tight(found)


@pytest.mark.parametrize("sizes", [((480, 640), (800, 1067)), ((427, 640), (800, 1199)), ((1333, 2000), (800, 1200))])
def test_so_is_a_mask_of_a_photographs_size(sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """Pillow adds up float64 steps from line to line: a source line that is off by one shows in a chequered mask."""
    before, after = sizes
    rows, columns = np.indices(before)
    mask = ((rows + columns) % 2).astype(np.uint8)
    found = resized([tight(0, 0, mask)], before, after)
    wanted = np.asarray(Image.fromarray(mask).resize(after[::-1], Image.Resampling.NEAREST))
    assert np.array_equal(found[0], wanted)


@given(st.lists(rle_masks(), min_size=1, max_size=3), st.integers(0, 3), st.integers(0, 3))
@MANY
def test_packed_windows_are_those_parts_of_the_canvas(batch: list[RleMasks], below: int, beside: int) -> None:
    crops = [of(masks) for masks in batch]
    canvas = max(m.size[0] for m in batch) + below, max(m.size[1] for m in batch) + beside
    packed = pack(crops, canvas)
    assert (packed.pixels.dtype, packed.starts.dtype, packed.windows.dtype) == (np.uint8, np.int64, np.int32)
    assert packed.starts.shape == packed.windows.shape[:2] == (len(batch), max(map(len, batch)))
    end = 0
    for starts, windows, masks in zip(packed.starts, packed.windows, batch, strict=True):
        assert not windows[len(masks) :].any()
        for start, (x0, y0, width, height), mask in zip(starts, windows, masks, strict=False):
            whole = np.zeros(canvas, np.uint8)
            whole[: masks.size[0], : masks.size[1]] = mask
            assert start == end
            end += width * height
            window = packed.pixels[start:end].reshape(height, width)
            assert np.array_equal(window, whole[y0 : y0 + height, x0 : x0 + width])
            assert window.sum() == mask.sum()  # nothing of the mask lies outside
            assert_margin(whole, (x0, y0, x0 + width, y0 + height))
    assert end == len(packed.pixels)


def assert_margin(whole: np.ndarray, edges: tuple[int, int, int, int]) -> None:
    """The window is the bounding box and one pixel around it, as far as the canvas goes; zeros of an empty mask."""
    rows, columns = np.nonzero(whole)
    if not len(rows):
        assert edges == (0, 0, 0, 0)
        return
    low = max(columns.min() - 1, 0), max(rows.min() - 1, 0)
    high = min(columns.max() + 2, whole.shape[1]), min(rows.max() + 2, whole.shape[0])
    assert edges == (*low, *high)


@given(st.lists(st.integers(0, 2**23), min_size=1, max_size=40))
@example([0, 0, 0, 5, 0, 1])
@MANY
def test_run_lengths_are_read_as_one_reads_them_character_by_character(lengths: list[int]) -> None:
    """Up to 2**23, five characters: pycocotools has six for each length and none for the end of the text.

    Where all lengths take six, or there is none, it writes a byte beyond its buffer, which ended another test.
    """
    text = coco_mask.frPyObjects({"size": [1, sum(lengths)], "counts": lengths}, 1, 1)["counts"]
    assert run_lengths(text).tolist() == decode_counts(text.decode()) == lengths
    assert run_lengths(text.decode()).tolist() == lengths


def test_of_no_pixel_nothing_is_left() -> None:
    empty = tight(3, 4, np.zeros((5, 6), np.uint8))
    assert (empty.x0, empty.y0, empty.pixels.shape) == (NOTHING.x0, NOTHING.y0, (0, 0))
    assert tight(3, 4, np.zeros((0, 6), np.uint8)).pixels.shape == (0, 0)


def test_chosen_objects_keep_their_order() -> None:
    masks = MaskCrops(tuple(tight(0, 0, np.eye(4, dtype=np.uint8)[i : i + 1]) for i in range(4)), (4, 4))
    kept = masks.chosen(np.array([True, False, False, True]))
    assert [crop.x0 for crop in kept.crops] == [0, 3]
