"""The paste rule against the float64 oracle, and COCO's encoding of what it gives."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.evaluation import paste
from maskline_train.evaluation.paste import encode_masks, paste_mask
from pycocotools import mask as coco_mask

BOXES = [
    ((2.0, 3.0, 10.0, 9.0), "whole pixels"),
    ((2.3, 3.7, 11.1, 8.9), "fractions"),
    ((-4.0, -3.5, 6.0, 7.0), "leaves at the top left"),
    ((9.5, 8.2, 30.0, 25.0), "leaves at the bottom right"),
    ((-20.0, -20.0, -5.0, -5.0), "outside"),
    ((5.1, 5.1, 5.4, 5.4), "between two pixel centres"),
    ((4.2, 4.2, 4.9, 4.9), "one pixel centre"),
    ((5.0, 5.0, 5.0, 9.0), "no width"),
    ((7.0, 5.0, 5.0, 9.0), "turned around"),
    ((0.0, 0.0, 14.0, 12.0), "the whole image"),
    ((0.5, 0.5, 13.5, 11.5), "edges on pixel centres"),
]


@pytest.mark.parametrize(("box", "why"), BOXES)
@pytest.mark.parametrize("side", [1, 4, 28])
def test_pasted_pixels_are_those_of_the_definition(box, why, side):
    mask = np.random.default_rng(0).random((side, side), np.float32)
    for cells in (mask, np.ones_like(mask), np.zeros_like(mask)):
        expected = reference.paste_mask(cells, box, (12, 14))
        assert np.array_equal(paste_mask(cells, box, (12, 14)), expected), why


coordinates = st.floats(-10, 30, width=32)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(coordinates, coordinates, coordinates, coordinates), st.integers(0, 2**31), st.sampled_from([2, 5, 14])
)
def test_any_box_is_pasted_by_the_definition(box, seed, side):
    mask = np.random.default_rng(seed).random((side, side), np.float32)
    values = reference.paste_values(mask, box, (11, 13))
    clear = (
        np.abs(values - paste.THRESH["aligned"]) > 1e-12
    )  # the sum's rounding may decide for a value right on the limit
    pasted = paste_mask(mask, box, (11, 13))
    assert np.array_equal(pasted[clear], (values >= paste.THRESH["aligned"])[clear])


def test_a_box_far_smaller_than_a_pixel_beside_a_centre_is_empty():
    # The centre is within the rounding allowed for an edge, and 28 cells away from the box.
    low, high = 3.5 + 1e-9, 3.5 + 2e-9
    for mask in (np.ones((28, 28), np.float32), np.eye(28, dtype=np.float32)[::-1]):
        assert not paste_mask(mask, (low, low, high, high), (8, 8)).any()
        assert not paste_mask(mask, (low - 3e-9, low - 3e-9, high - 3e-9, high - 3e-9), (8, 8)).any()


def test_a_full_mask_covers_its_box_exactly():
    # The value at a box edge is one half of the edge cell, so a full mask covers every centre inside.
    pasted = paste_mask(np.ones((28, 28), np.float32), (2.0, 1.0, 6.0, 4.0), (6, 8))
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(pasted, expected)


def test_one_half_belongs_to_the_object():
    # 2 x 2 cells over 2 x 2 pixels: pixel centres are cell centres; the largest float32 below 0.5 is outside
    assert paste_mask(np.array([[0.5 - 2**-25, 0.5], [0, 1]], np.float32), (0, 0, 2, 2), (2, 2)).tolist() == [
        [False, True],
        [False, True],
    ]
    # 1 and 0 meet at the middle pixel centre of three: exactly 0.5
    assert paste_mask(np.array([[1, 0]] * 2, np.float32), (0, 0, 3, 3), (3, 3))[1].tolist() == [True, True, False]


def test_blocks_do_not_change_the_result(monkeypatch):
    mask = np.random.default_rng(1).random((28, 28), np.float32)
    whole = paste_mask(mask, (3.2, 1.1, 60.7, 44.0), (50, 64))
    monkeypatch.setattr(paste, "_VALUES_A_BLOCK", 100)
    assert np.array_equal(paste_mask(mask, (3.2, 1.1, 60.7, 44.0), (50, 64)), whole)


def test_encoding_is_cocos_and_objects_do_not_leak_into_each_other():
    masks = np.random.default_rng(2).random((len(BOXES), 14, 14), np.float32)
    boxes = np.array([box for box, _ in BOXES], np.float32)
    rles = list(encode_masks(masks, boxes, (12, 14)))
    assert len(rles) == len(BOXES)
    for rle, mask, box in zip(rles, masks, boxes, strict=True):
        expected = reference.paste_mask(mask, box.tolist(), (12, 14))
        assert rle["size"] == [12, 14]
        assert np.array_equal(coco_mask.decode(rle).astype(bool), expected)
        counts = coco_mask.frPyObjects({"size": [12, 14], "counts": reference.encode_rle(expected)}, 12, 14)["counts"]
        assert rle["counts"] == counts


def test_no_objects_give_no_masks():
    assert list(encode_masks(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), (5, 5))) == []
