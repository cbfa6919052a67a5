"""Boxes: the pixel model, overlaps, coding."""

import math

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.model.boxes import (
    MAX_LOG_SCALE,
    areas,
    clip_to_image,
    decode_deltas,
    encode_deltas,
    has_min_side,
    iou_matrix,
)

WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def boxes_strategy(count, low=-50.0, high=400.0):
    """[count, 4] with sides of 0.5 to 300 px: what anchors and objects look like."""
    corner, side = st.floats(low, high, width=32), st.floats(0.5, 300.0, width=32)
    box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
    return st.lists(box, min_size=count, max_size=count).map(lambda rows: torch.tensor(rows, dtype=torch.float32))


def test_width_of_a_box_is_its_number_of_pixels():
    # the box that holds exactly the pixels 2, 3, 4 of the rows 1 and 2: pixel i covers [i, i + 1)
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[1:3, 2:5] = True
    rows, columns = torch.nonzero(mask, as_tuple=True)
    box = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    assert box.tolist() == [2, 1, 5, 3]
    assert areas(box) == mask.sum() == 6


def test_iou_by_hand():
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
    others = torch.tensor(
        [
            [0.0, 0.0, 4.0, 4.0],  # itself
            [2.0, 0.0, 6.0, 4.0],  # half of it: 8 / (16 + 16 - 8)
            [4.0, 0.0, 8.0, 4.0],  # touching
            [1.0, 1.0, 3.0, 3.0],  # nested: 4 / 16
            [9.0, 9.0, 10.0, 10.0],  # far away
            [2.0, 2.0, 2.0, 2.0],  # a point inside
        ]
    )
    expected = torch.tensor([[1.0, 1 / 3, 0.0, 0.25, 0.0, 0.0]])
    assert torch.allclose(iou_matrix(box, others), expected, atol=1e-7)  # one rounding of float32


def test_iou_of_two_empty_boxes_is_zero_not_nan():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert iou_matrix(point, point).tolist() == [[0.0]]


def test_iou_with_no_boxes_has_no_entries():
    assert iou_matrix(torch.zeros(0, 4), torch.rand(3, 4)).shape == (0, 3)
    assert iou_matrix(torch.rand(3, 4), torch.zeros(0, 4)).shape == (3, 0)


@settings(deadline=None)
@given(boxes_strategy(3), boxes_strategy(4))
def test_iou_is_that_of_the_definition(boxes, others):
    expected = [[reference.iou(a, b) for b in others.tolist()] for a in boxes.tolist()]
    # float32 coordinates to 700 px: areas to 90 000 keep 24 bits, their differences lose up to 10
    assert np.allclose(iou_matrix(boxes, others).numpy(), expected, atol=1e-3)
    assert torch.equal(iou_matrix(others, boxes), iou_matrix(boxes, others).T)


@settings(deadline=None)
@given(boxes_strategy(5), boxes_strategy(5), st.sampled_from([(1.0, 1.0, 1.0, 1.0), WEIGHTS]))
def test_decode_undoes_encode(boxes, anchors, weights):
    sides = (boxes[:, 2:] - boxes[:, :2]) / (anchors[:, 2:] - anchors[:, :2])
    within = (sides < 1000 / 16).all(dim=1)  # beyond it the decoder clamps on purpose
    decoded = decode_deltas(encode_deltas(boxes, anchors, weights), anchors, weights)
    # 0.02 px: 24 bits of centres to 850 px over anchors down to 0.5 px, and an exponential
    assert torch.allclose(decoded[within], boxes[within], rtol=1e-4, atol=0.02)


def test_deltas_by_hand():
    anchor = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # 20 x 40, centre (20, 40)
    box = torch.tensor([[20.0, 20.0, 60.0, 40.0]])  # 40 x 20, centre (40, 30)
    expected = torch.tensor([[1.0, -0.25, math.log(2), -math.log(2)]])
    assert torch.allclose(encode_deltas(box, anchor), expected)
    assert torch.allclose(encode_deltas(box, anchor, WEIGHTS), expected * torch.tensor(WEIGHTS))


def test_zero_deltas_give_the_anchor():
    anchors = torch.tensor([[0.0, 0.0, 32.0, 64.0], [-5.5, 3.25, 10.0, 7.0]])
    assert torch.equal(decode_deltas(torch.zeros(2, 4), anchors), anchors)


def test_sides_grow_at_most_from_16_to_1000_px():
    anchor = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    decoded = decode_deltas(torch.tensor([[0.0, 0.0, 1e9, MAX_LOG_SCALE / 2]]), anchor)
    assert (decoded[0, 2] - decoded[0, 0]).item() == pytest.approx(1000.0, rel=1e-5)
    assert (decoded[0, 3] - decoded[0, 1]).item() == pytest.approx(math.sqrt(16 * 1000), rel=1e-5)


def test_half_precision_deltas_are_decoded_in_float32():
    anchors = torch.tensor([[1200.0, 700.0, 1232.0, 732.0]])
    deltas = torch.tensor([[0.125, 0.25, 0.0, 0.0]], dtype=torch.float16)  # exact in float16
    decoded = decode_deltas(deltas, anchors)
    assert decoded.dtype == torch.float32
    assert decoded.tolist() == [[1204.0, 708.0, 1236.0, 740.0]]  # float16 could not hold odd numbers beyond 2048


def test_clipping_is_to_the_resized_image_not_to_the_canvas():
    boxes = torch.tensor([[[-5.0, -5.0, 500.0, 500.0], [10.0, 20.0, 30.0, 40.0], [300.0, 0.0, 310.0, 5.0]]])
    info = torch.tensor([[100.0, 200.0, 1.0, 1.0, 100.0, 200.0]])  # 100 high, 200 wide
    clipped = clip_to_image(boxes, info)[0].tolist()
    assert clipped == [[0, 0, 200, 100], [10, 20, 30, 40], [200, 0, 200, 5]]


def test_each_image_is_clipped_by_its_own_size():
    boxes = torch.full((2, 3, 4), 1e4)
    info = torch.tensor([[10.0, 20, 1, 1, 10, 20], [30.0, 40, 1, 1, 30, 40]])
    clipped = clip_to_image(boxes, info)
    assert clipped[0].unique(dim=0).tolist() == [[20, 10, 20, 10]]
    assert clipped[1].unique(dim=0).tolist() == [[40, 30, 40, 30]]


def test_min_side_is_inclusive_and_asks_both_sides():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.5], [0.0, 0.0, 1.5, 2.0], [5.0, 0.0, 4.0, 9.0]])
    assert has_min_side(boxes, 2.0).tolist() == [True, False, False, False]
