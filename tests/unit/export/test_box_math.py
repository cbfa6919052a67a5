"""Greedy NMS as a fixed point, against the oracle, where suppression comes in chains."""

import numpy as np
import pytest
import reference
from maskline_export.custom_ops import box_math
from maskline_export.custom_ops.body import FLOAT, Body
from onnx.reference import ReferenceEvaluator
from support.export.onnx_ops import Array, float32


def by_fixed_point(boxes: Array, iou_thresh: float) -> list[int]:
    """Indices kept of boxes [N, 4] sorted best first, by the dense body's nodes."""
    body, count = Body("Test"), len(boxes)
    given, valid = body.input("boxes"), body.input("valid")
    x0, y0, x1, y1 = (given.column(j) for j in range(4))
    pairs = box_math.pairs_above(body, (x0, y0, x1, y1), iou_thresh, count)
    kept = box_math.keep_by_fixed_point(body, pairs.cast(FLOAT), valid, count)
    function = body.function([given, valid], [("kept", kept)], [], "a test")
    inputs = {"boxes": boxes[None], "valid": float32(np.ones((1, count)))}
    return np.flatnonzero(ReferenceEvaluator(function).run(None, inputs, attributes={})[0][0]).tolist()


def row_of(count: int, step: float) -> Array:
    """Boxes of 12 px in a row, each `step` px beside the one before."""
    start = step * np.arange(count)
    return float32(np.stack([start, 0 * start, start + 12, 0 * start + 12], axis=1))


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        (row_of(1, 0), [0]),  # alone
        (row_of(5, 0), [0]),  # identical
        (row_of(5, 20), [0, 1, 2, 3, 4]),  # apart
        (row_of(5, 12), [0, 1, 2, 3, 4]),  # touching
        (row_of(9, 3), [0, 2, 4, 6, 8]),  # each drops the next alone: settled one step after the other
        (row_of(2, 4), [0, 1]),  # IoU exactly one half is not above one half
        (np.zeros((3, 4), np.float32), [0, 1, 2]),  # no area: no overlap, never NaN
    ],
)
def test_chains_settle_as_in_greedy_nms(boxes: Array, kept: list[int]) -> None:
    assert by_fixed_point(boxes, 0.5) == kept
    assert reference.greedy_nms(boxes, -np.arange(len(boxes)), 0.5) == kept
    assert box_math.nms_numpy(boxes, 0.5) == kept


def test_a_chain_as_long_as_there_are_boxes() -> None:
    boxes = row_of(60, 3)
    assert by_fixed_point(boxes, 0.5) == list(range(0, 60, 2))


@pytest.mark.parametrize("seed", range(5))
def test_random_crowds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 40, (50, 2))
    boxes = float32(np.concatenate([start, start + rng.uniform(5, 30, (50, 2))], axis=1))
    expected = reference.greedy_nms(boxes, -np.arange(50), 0.4)
    assert by_fixed_point(boxes, 0.4) == expected
    assert box_math.nms_numpy(boxes, 0.4) == expected


def test_decode_clamps_the_size_and_clips_to_the_image() -> None:
    """A 16 px box grows to 1000 px at most; dx moves by widths. Numbers by hand."""
    anchors = float32([[100, 100, 116, 116], [0, 0, 10, 20]])
    deltas = float32([[0, 0, 50, 50], [1, 0.5, 0, np.log(2)]])
    boxes = box_math.decode_numpy(anchors, deltas, (1, 1, 1, 1), 600, 2000)
    np.testing.assert_allclose(boxes, [[0, 0, 608, 600], [10, 0, 20, 40]], atol=1e-3)
