"""Box arithmetic that the bodies and the numpy references of ProposalNMS and ClasswiseNMS share.

Boxes are float32 xyxy in continuous pixels of the canvas. In a body the four coordinates travel as four values of
one shape, so that no axis of length four stands in the way of broadcasting.

Letters: B images, N boxes of one group, G groups that suppress only among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import numpy_helper

from maskline_export.custom_ops.body import FLOAT, INT32, INT64, Body, Value

# dw and dh above this are clamped before exp: a box grows from 16 px to at most 1000 px. Ref: torchvision, detectron2.
DELTA_SIZE_CLAMP = math.log(1000.0 / 16.0)
LOWEST = float(np.finfo(np.float32).min)

_ONE = numpy_helper.from_array(np.ones(1, dtype=np.float32))
_ZERO = numpy_helper.from_array(np.zeros(1, dtype=np.float32))

Array = npt.NDArray[np.float32]
Corners = tuple[Value, Value, Value, Value]


def decode(
    body: Body, anchors: Corners, deltas: Sequence[Value], weights: Sequence[float], image_size: tuple[Value, Value]
) -> Corners:
    """Boxes from anchors and deltas (dx dy dw dh), clipped to the image.

    Args:
        body: where the nodes go.
        anchors: x0 y0 x1 y1, of any one shape.
        deltas: four values that broadcast with the anchors.
        weights: what each delta is divided by.
        image_size: height and width of the resized image inside the canvas, broadcastable.
    """
    x0, y0, x1, y1 = anchors
    dx, dy, dw, dh = (delta if weight == 1.0 else delta / weight for delta, weight in zip(deltas, weights, strict=True))
    height, width = image_size
    left, right = _decode_axis(body, x0, x1, dx, dw)
    top, bottom = _decode_axis(body, y0, y1, dy, dh)
    return left.clip(0.0, width), top.clip(0.0, height), right.clip(0.0, width), bottom.clip(0.0, height)


def _decode_axis(body: Body, low: Value, high: Value, shift: Value, log_scale: Value) -> tuple[Value, Value]:
    side = high - low
    centre = low + side * 0.5 + shift * side
    half = body.op("Exp", body.op("Min", log_scale, DELTA_SIZE_CLAMP)) * side * 0.5
    return centre - half, centre + half


def stack(body: Body, corners: Corners) -> Value:
    """Four values [..] as boxes [.., 4]."""
    return body.op("Concat", *(corner.unsqueeze(-1) for corner in corners), axis=-1)


def large_enough(corners: Corners, min_side: float) -> Value:
    """Bool: both sides are at least `min_side`."""
    x0, y0, x1, y1 = corners
    return (x1 - x0 >= min_side) & (y1 - y0 >= min_side)


def keep_by_onnx_nms(body: Body, boxes: Value, scores: Value, iou_thresh: float) -> Value:
    """Greedy NMS by the standard NonMaxSuppression op, whose result has a data-dependent length.

    Args:
        body: where the nodes go.
        boxes: [G, N, 4].
        scores: [G, N]; only boxes with a score above zero take part. Ties: the lower index wins.
        iou_thresh: a box is dropped when its IoU with a better kept one is larger.

    Returns:
        Float [G, N], 1 where a box is kept.
    """
    selected = body.op(
        "NonMaxSuppression", boxes, scores.unsqueeze(1), np.iinfo(np.int32).max, iou_thresh, 0.0
    )  # [S, 3]: group, class 0, box
    rows = body.op("Gather", selected, body.ints([0, 2]), axis=1)
    ones = body.op("ConstantOfShape", selected.dim(0), value=_ONE)
    zeros = body.op("ConstantOfShape", body.op("Shape", scores), value=_ZERO)
    return body.op("ScatterND", zeros, rows, ones)


def keep_by_fixed_point(body: Body, suppresses: Value, valid: Value, count: int) -> Value:
    """Exact greedy NMS of boxes sorted best first, with static shapes.

    `keep[j] = valid[j] and not any(i < j: suppresses[i, j] and keep[i])` is iterated from `keep = valid` until nothing
    changes. Step t settles every box that hangs on a chain of at most t others, so N steps always suffice and a
    handful do in practice. The fixed point is unique (by induction over j): it is the greedy result.

    Args:
        body: where the nodes go.
        suppresses: float [G, N, N], 1 where box i (row) suppresses box j (column) if i is kept; zero for i >= j.
        valid: float [G, N].
        count: N.

    Returns:
        Float [G, N], 1 where a box is kept.
    """
    start = valid.unsqueeze(1)  # [G, 1, N]

    def step(inner: Body, keep: Value) -> tuple[Value, Value]:
        free = (inner.op("MatMul", keep, suppresses) < 0.5).cast(FLOAT)
        after = free * start
        changed = inner.op("ReduceMax", inner.op("Abs", after - keep), keepdims=0)
        return after, changed > 0.5

    return body.op("Squeeze", body.loop(count, start, FLOAT, step), body.ints([1]))


def pairs_above(body: Body, corners: Corners, iou_thresh: float, count: int) -> Value:
    """Bool [G, N, N]: i < j and the IoU of boxes i and j is above the threshold; coordinates are [G, N]."""
    a = [corner.unsqueeze(2) for corner in corners]  # [G, N, 1]: the better box
    b = [corner.unsqueeze(1) for corner in corners]  # [G, 1, N]
    width = body.op("Max", body.op("Min", a[2], b[2]) - body.op("Max", a[0], b[0]), 0.0)
    height = body.op("Max", body.op("Min", a[3], b[3]) - body.op("Max", a[1], b[1]), 0.0)
    inter = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    iou = inter / body.op("Max", union, 1e-12)  # two boxes of area zero: 0, never NaN
    better = body.constant(np.triu(np.ones((1, count, count), dtype=np.bool_), 1))
    return (iou > iou_thresh) & better


def top_kept(body: Body, scores: Value, keep: Value, size: int, limit: int) -> tuple[Value, Value, Value]:
    """The best kept rows of each image, padded to a fixed number.

    Args:
        body: where the nodes go.
        scores: [B, N] float.
        keep: [B, N] float, 1 where a row may be chosen.
        size: N.
        limit: rows in the result.

    Returns:
        Row indices int64 [B, limit] (0 past the count), bool [B, limit] (row is real), count int32 [B]; best first,
        ties by the lower row.
    """
    masked = body.op("Where", keep > 0.5, scores, LOWEST)
    if size < limit:
        masked = pad_columns(body, masked, limit - size)
    _, rows = body.ops(2, "TopK", masked, body.ints([limit]), axis=1)
    found = body.op("ReduceSum", keep, body.ints([1]), keepdims=1).cast(INT64)  # [B, 1]
    count = body.op("Min", found, limit)
    real = body.constant(np.arange(limit, dtype=np.int64)[None]) < count
    rows = body.op("Where", real, rows, 0)
    return rows, real, body.op("Squeeze", count, body.ints([1])).cast(INT32)


def pad_columns(body: Body, values: Value, columns: int) -> Value:
    """[B, N] float with `columns` more columns of the lowest float."""
    return body.op("Pad", values, body.ints([0, 0, 0, columns]), LOWEST)


def rows_or_zero(body: Body, table: Value, rows: Value, real: Value) -> Value:
    """Rows [B, limit, 4] of `table` [B, N, 4]; zeros where not `real`."""
    gathered = body.op("GatherND", table, rows.unsqueeze(-1), batch_dims=1)
    return body.op("Where", real.unsqueeze(-1), gathered, 0.0)


def decode_numpy(anchors: Array, deltas: Array, weights: Sequence[float], height: float, width: float) -> Array:
    """`decode` in numpy float32: anchors and deltas [N, 4], boxes [N, 4]."""
    dx, dy, dw, dh = (deltas / np.array(weights, dtype=np.float32)).T
    w, h = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    cx, cy = anchors[:, 0] + 0.5 * w + dx * w, anchors[:, 1] + 0.5 * h + dy * h
    half_w = 0.5 * w * np.exp(np.minimum(dw, np.float32(DELTA_SIZE_CLAMP)))
    half_h = 0.5 * h * np.exp(np.minimum(dh, np.float32(DELTA_SIZE_CLAMP)))
    boxes = np.stack([cx - half_w, cy - half_h, cx + half_w, cy + half_h], axis=1)
    limit = np.array([width, height, width, height], dtype=np.float32)
    clipped: Array = np.clip(boxes, np.float32(0), limit).astype(np.float32)
    return clipped


def nms_numpy(boxes: Array, iou_thresh: float) -> list[int]:
    """Greedy NMS of boxes [N, 4] sorted best first: indices of the kept ones, ascending."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), dtype=np.bool_)
    kept: list[int] = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        corner = np.minimum(boxes[i, 2:], boxes[i + 1 :, 2:]) - np.maximum(boxes[i, :2], boxes[i + 1 :, :2])
        inter = np.maximum(corner, 0).prod(axis=1)
        union = area[i] + area[i + 1 :] - inter
        alive[i + 1 :] &= ~(inter > np.float32(iou_thresh) * union)
    return kept
