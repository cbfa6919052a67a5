"""MultiscaleRoIAlign: features of boxes, each box read from the pyramid level of its size.

`MultiscaleRoIAlign(boxes [B,R,4] float32, features... [B,C,Hi,Wi] x L) -> [B*R,C,P,P]` in the features' type, which is
float32, float16 or bfloat16; coordinates and sums are float32. A box of zero width or height gives zeros. Level:
`clamp(floor(canonical_level + log2(sqrt(w*h) / canonical_size + 1e-6)), first, last)`, with levels numbered so that
stride 4 is level 2. Ref: Mask R-CNN, section 3 (RoIAlign); FPN paper, equation 1.

Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from maskline_export.custom_ops.body import FLOAT, INT64, Body, Value, node_attributes
from maskline_export.errors import ContractError

NAME = "MultiscaleRoIAlign"
_LEVEL_EPSILON = (
    1e-6  # inside the logarithm: a box of exactly a power of two falls on the upper level, as in detectron2
)
_OUTSIDE = -4.0  # normalised coordinate that GridSample's zero padding answers with 0

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class MultiscaleRoIAlign:
    """Attributes of a node."""

    strides: tuple[int, ...]
    canonical_size: float  # px: a box of this side is read from `canonical_level`
    canonical_level: int
    pooled_side: int  # P
    sampling_ratio: int  # S; 0: ceil(bin side), another for each box and axis
    aligned: bool  # False: no half-pixel shift and a side of at least one cell
    mode: str = "align_avg"

    @property
    def level_bounds(self) -> tuple[float, ...]:
        """Relative sizes `sqrt(w*h) / canonical_size` from which a box is on level 1, 2, ... of `strides`."""
        return tuple(2.0 ** (math.log2(stride) - self.canonical_level) for stride in self.strides[1:])


def body_ort(op: MultiscaleRoIAlign) -> onnx.FunctionProto:
    """The body for ONNX Runtime: its RoiAlign op on the boxes of each level, then one gather that restores the order.

    Scattering level by level into one tensor would copy all of it once a level.
    """
    body = Body(NAME)
    boxes, inputs = _inputs(body, op)
    features = _in_float(inputs)
    rows = boxes.reshape(-1, 4)  # [B*R, 4]
    level, valid = _levels(body, op, rows)
    boxes_per_image = boxes.dim(1)
    members, pooled = [], []
    for index, (stride, feature) in enumerate(zip(op.strides, features, strict=True)):
        mine = body.op("NonZero", level.equal(index) & valid).reshape(-1)  # [n]
        aligned = body.op(
            "RoiAlign",
            feature,
            body.op("Gather", rows, mine, axis=0),
            mine // boxes_per_image,
            coordinate_transformation_mode="half_pixel" if op.aligned else "output_half_pixel",
            mode="avg",
            output_height=op.pooled_side,
            output_width=op.pooled_side,
            sampling_ratio=op.sampling_ratio,
            spatial_scale=1.0 / stride,
        )
        members.append(mine)
        pooled.append(aligned)
    zero_shape = body.op("Concat", body.ints([1]), features[0].dim(1), body.ints([op.pooled_side] * 2), axis=0)
    zero = body.op("ConstantOfShape", zero_shape, value=numpy_helper.from_array(np.zeros(1, dtype=np.float32)))
    by_level = body.op("Concat", *pooled, zero, axis=0)  # [boxes with an area + 1, C, P, P]
    return _function(body, op, boxes, inputs, _in_order(body, by_level, members, rows.dim(0)), "ONNX Runtime")


def _in_order(body: Body, by_level: Value, members: Sequence[Value], count: Value) -> Value:
    """Rows of `by_level` at the places that `members` says, of `count`; its last row everywhere else."""
    order = body.op("Concat", *members, axis=0)  # place of each row but the last
    found = order.dim(0)
    number = body.op("Range", 0, body.op("Squeeze", found), 1)
    sources = body.op("ScatterElements", body.op("Expand", found, count), order, number, axis=0)  # [B*R]
    return body.op("Gather", by_level, sources, axis=0)


def body_dense(op: MultiscaleRoIAlign) -> onnx.FunctionProto:
    """The body of static shapes: every box samples every level, outside the map on all levels but its own.

    Raises:
        ContractError: adaptive sampling, whose number of points depends on the data.
    """
    if op.sampling_ratio == 0:
        raise ContractError(
            f"{NAME}: got sampling_ratio 0 (adaptive), expected a fixed number for `--bodies dense`; "
            "export with `--bodies ort`"
        )
    body = Body(NAME)
    boxes, inputs = _inputs(body, op)
    features = _in_float(inputs)
    level, valid = _levels(body, op, boxes)  # [B, R]
    total: Value | None = None
    for index, (stride, feature) in enumerate(zip(op.strides, features, strict=True)):
        mine = (level.equal(index) & valid).unsqueeze(-1)  # [B, R, 1]
        x = _grid_axis(body, op, boxes.column(0), boxes.column(2), feature.dim(3), stride, mine)  # [B, R, P*S]
        y = _grid_axis(body, op, boxes.column(1), boxes.column(3), feature.dim(2), stride, mine)
        sampled = body.op(
            "GridSample", feature, _grid(body, op, x, y), mode="linear", padding_mode="zeros", align_corners=0
        )  # [B, C, R*P*S, P*S]
        total = sampled if total is None else total + sampled
    assert total is not None  # a spec has at least one level
    side = op.sampling_ratio
    if side > 1:
        total = body.op("AveragePool", total, kernel_shape=[side, side], strides=[side, side])
    p = op.pooled_side
    by_box = total.reshape(0, 0, -1, p, p).transpose(0, 2, 1, 3, 4)  # [B, R, C, P, P]
    pooled = by_box.reshape(-1, features[0].dim(1), p, p)
    return _function(body, op, boxes, inputs, pooled, "static shapes")


def _inputs(body: Body, op: MultiscaleRoIAlign) -> tuple[Value, list[Value]]:
    return body.input("boxes"), [body.input(f"feature_{index}") for index in range(len(op.strides))]


def _in_float(features: Sequence[Value]) -> list[Value]:
    """The features as float32: coordinates and sums are float32 whatever type the features travel in."""
    return [feature.cast(FLOAT) for feature in features]


def _function(
    body: Body, op: MultiscaleRoIAlign, boxes: Value, features: Sequence[Value], pooled: Value, what: str
) -> onnx.FunctionProto:
    """Close the body; `pooled` is float32 here and leaves in the type of the features."""
    doc = f"Features of boxes from a pyramid ({what}); attribute values are baked in."
    typed = body.op("CastLike", pooled, features[0])
    return body.function([boxes, *features], [("pooled", typed)], list(node_attributes(op)), doc)


def _levels(body: Body, op: MultiscaleRoIAlign, boxes: Value) -> tuple[Value, Value]:
    """Index into `strides` (int64) and whether both sides are positive (bool), [..] for boxes [.., 4].

    The logarithm of the definition is replaced by comparisons with powers of two: the same levels, no Log2 needed.
    """
    width, height = boxes.column(2) - boxes.column(0), boxes.column(3) - boxes.column(1)
    valid = (width > 0.0) & (height > 0.0)
    area = body.op("Where", valid, width * height, 0.0)
    size = body.op("Sqrt", area) / op.canonical_size + _LEVEL_EPSILON
    above = size.unsqueeze(-1) >= body.constant(np.array(op.level_bounds, dtype=np.float32))
    return body.op("ReduceSum", above.cast(INT64), body.ints([-1]), keepdims=0), valid


def _grid_axis(
    body: Body, op: MultiscaleRoIAlign, low: Value, high: Value, length: Value, stride: int, mine: Value
) -> Value:
    """Sampling coordinates [B, R, P*S] of one axis as GridSample wants them: -1 and 1 are the outer cell edges.

    A point more than one cell outside the map counts as 0; a nearer one reads the edge cell, as RoIAlign defines it.
    """
    start, end = low * (1.0 / stride), high * (1.0 / stride)
    side = end - start
    if not op.aligned:
        side = body.op("Max", side, 1.0)
    points = op.pooled_side * op.sampling_ratio
    fractions = (np.arange(points, dtype=np.float32) + np.float32(0.5)) / np.float32(points)
    at = start.unsqueeze(-1) + side.unsqueeze(-1) * body.constant(fractions.astype(np.float32))
    if op.aligned:
        at = at - 0.5
    cells = length.cast(FLOAT)  # [1]
    inside = (at >= -1.0) & (at <= cells) & mine
    normalised = (at.clip(0.0, cells - 1.0) * 2.0 + 1.0) / cells - 1.0
    return body.op("Where", inside, normalised, _OUTSIDE)


def _grid(body: Body, op: MultiscaleRoIAlign, x: Value, y: Value) -> Value:
    """The grid [B, R*P*S, P*S, 2] of all pairs of [B, R, P*S] coordinates."""
    points = op.pooled_side * op.sampling_ratio
    ones = body.constant(np.ones((1, 1, points, points), dtype=np.float32))
    plane = [(coordinate * ones).unsqueeze(-1) for coordinate in (x.unsqueeze(2), y.unsqueeze(3))]
    return body.op("Concat", *plane, axis=-1).reshape(0, -1, points, 2)


def reference(op: MultiscaleRoIAlign, boxes: Array, features: Sequence[Array]) -> Array:
    """The op in numpy, box by box, from the definition.

    Args:
        op: attributes.
        boxes: [B, R, 4] float32 xyxy, canvas px.
        features: L arrays [B, C, Hi, Wi] float32.

    Returns:
        [B*R, C, P, P] float32; zeros for a box of zero width or height.
    """
    images, count = boxes.shape[:2]
    channels, p = features[0].shape[1], op.pooled_side
    pooled = np.zeros((images * count, channels, p, p), dtype=np.float32)
    first = int(math.log2(op.strides[0]))
    for row, (x0, y0, x1, y1) in enumerate(boxes.reshape(-1, 4).astype(np.float64)):
        if x1 <= x0 or y1 <= y0:
            continue
        size = math.sqrt((x1 - x0) * (y1 - y0)) / op.canonical_size
        level = math.floor(op.canonical_level + math.log2(size + _LEVEL_EPSILON)) - first
        level = min(max(level, 0), len(op.strides) - 1)
        feature, stride = features[level][row // count], op.strides[level]
        rows = _bin_weights(y0 / stride, y1 / stride, feature.shape[1], op)
        columns = _bin_weights(x0 / stride, x1 / stride, feature.shape[2], op)
        pooled[row] = np.einsum("ph,chw,qw->cpq", rows, feature.astype(np.float64), columns)
    return pooled


def _bin_weights(start: float, end: float, cells: int, op: MultiscaleRoIAlign) -> npt.NDArray[np.float64]:
    """[P, cells]: weight of each cell in the average of each bin along one axis (RoIAlign is separable)."""
    side = end - start if op.aligned else max(end - start, 1.0)
    start = start - 0.5 if op.aligned else start
    samples = op.sampling_ratio or math.ceil(side / op.pooled_side)
    weights = np.zeros((op.pooled_side, cells))
    for bin_index in range(op.pooled_side):
        for sample in range(samples):
            at = start + side * (bin_index + (sample + 0.5) / samples) / op.pooled_side
            if at < -1.0 or at > cells:
                continue
            at = min(max(at, 0.0), cells - 1.0)
            low = min(int(at), cells - 1)
            weights[bin_index, low] += (1.0 - (at - low)) / samples
            weights[bin_index, min(low + 1, cells - 1)] += (at - low) / samples
    return weights
