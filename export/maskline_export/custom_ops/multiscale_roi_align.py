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
import typing
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from maskline_train.spec import RoIAlignSpec
from onnx import numpy_helper

from maskline_export.custom_ops.body import FLOAT, INT64, Body, Value, node_attributes
from maskline_export.errors import ContractError

NAME = "MultiscaleRoIAlign"
# The most that the plugin takes (plugins/roi_align/attributes.h): a model beyond it could be exported and never built.
MAX_POOLED_SIDE = 64
MAX_SAMPLING_RATIO = 16
_LEVEL_EPSILON = (
    1e-6  # inside the logarithm: a box of exactly a power of two falls on the upper level, as in detectron2
)
_OUTSIDE = -4.0  # normalised coordinate that GridSample's zero padding answers with 0

Array = npt.NDArray[np.float32]
Float = npt.NDArray[np.float64]
# The average of bilinear samples, their maximum (as the paper has it: first interpolated, then the maximum), RoIPool,
# and RoIWarp (quantised as RoIPool, then the average of bilinear samples).
Mode = Literal["align_avg", "align_max", "pool", "warp"]


@dataclasses.dataclass(frozen=True)
class MultiscaleRoIAlign:
    """Attributes of a node."""

    strides: tuple[int, ...]
    canonical_size: float  # px: a box of this side is read from `canonical_level`
    canonical_level: int
    pooled_side: int  # P
    sampling_ratio: int  # S; 0: ceil(bin side), another for each box and axis
    aligned: bool  # False: no half-pixel shift and a side of at least one cell
    mode: Mode = "align_avg"

    def __post_init__(self) -> None:
        if self.mode not in typing.get_args(Mode):
            raise ContractError(f"{NAME}: got mode {self.mode!r}, expected one of {', '.join(typing.get_args(Mode))}")
        for name, value, least, most in (
            ("pooled_side", self.pooled_side, 1, MAX_POOLED_SIDE),
            ("sampling_ratio", self.sampling_ratio, 0, MAX_SAMPLING_RATIO),
        ):
            if not least <= value <= most:
                raise ContractError(
                    f"{NAME}: got {name} {value}, expected {least}..{most}, which its plugin takes; train with fewer"
                )

    @property
    def level_bounds(self) -> tuple[float, ...]:
        """Relative sizes `sqrt(w*h) / canonical_size` from which a box is on level 1, 2, ... of `strides`."""
        return tuple(2.0 ** (math.log2(stride) - self.canonical_level) for stride in self.strides[1:])


def needs_plugin(op: RoIAlignSpec | MultiscaleRoIAlign) -> bool:
    """Whether the number of samples depends on the box: TensorRT then builds our plugin alone, not the op's body."""
    return op.mode == "pool" or op.sampling_ratio == 0


def body_ort(op: MultiscaleRoIAlign) -> onnx.FunctionProto:
    """The body for ONNX Runtime: its RoiAlign or MaxRoiPool on the boxes of each level, then one gather.

    The gather restores the order of the boxes.
    Scattering level by level into one tensor would copy all of it once a level. ONNX Runtime's RoiAlign of mode "max"
    takes the maximum of weighted corners, not of interpolated values, so `align_max` has the body of static shapes.

    Raises:
        ContractError: adaptive sampling with `align_max`.
    """
    if op.mode == "align_max":
        return body_dense(op)
    body = Body(NAME)
    boxes, inputs = _inputs(body, op)
    features = _in_float(inputs)
    rows = boxes.reshape(-1, 4)  # [B*R, 4]
    level, valid = _levels(body, op, rows)
    boxes_per_image = boxes.dim(1)
    members, pooled = [], []
    for index, (stride, feature) in enumerate(zip(op.strides, features, strict=True)):
        mine = body.op("NonZero", level.equal(index) & valid).reshape(-1)  # [n]
        members.append(mine)
        here, images = body.op("Gather", rows, mine, axis=0), mine // boxes_per_image
        pool = _max_roi_pool if op.mode == "pool" else _roi_align
        pooled.append(pool(body, op, feature, here, images, stride))
    zero_shape = body.op("Concat", body.ints([1]), features[0].dim(1), body.ints([op.pooled_side] * 2), axis=0)
    zero = body.op("ConstantOfShape", zero_shape, value=numpy_helper.from_array(np.zeros(1, dtype=np.float32)))
    by_level = body.op("Concat", *pooled, zero, axis=0)  # [boxes with an area + 1, C, P, P]
    return _function(body, op, boxes, inputs, _in_order(body, by_level, members, rows.dim(0)), "ONNX Runtime")


def _roi_align(body: Body, op: MultiscaleRoIAlign, feature: Value, boxes: Value, images: Value, stride: int) -> Value:
    """ONNX Runtime's RoiAlign of boxes [n, 4] px on one level, for `align_avg` and `warp`."""
    if op.mode == "warp":
        sides = [_snapped(body, boxes.column(axis), boxes.column(axis + 2), stride) for axis in (0, 1)]
        (x0, x1), (y0, y1) = sides
        corners = (corner * float(stride) for corner in (x0, y0, x1, y1))  # exact: strides are powers of two
        boxes = body.op("Concat", *(corner.unsqueeze(-1) for corner in corners), axis=-1)
    return body.op(
        "RoiAlign",
        feature,
        boxes,
        images,
        coordinate_transformation_mode="half_pixel" if op.aligned else "output_half_pixel",
        mode="avg",
        output_height=op.pooled_side,
        output_width=op.pooled_side,
        sampling_ratio=op.sampling_ratio,
        spatial_scale=1.0 / stride,
    )


def _max_roi_pool(
    body: Body, op: MultiscaleRoIAlign, feature: Value, boxes: Value, images: Value, stride: int
) -> Value:
    """RoIPool of boxes [n, 4] px on one level."""
    rois = body.op("Concat", images.cast(FLOAT).unsqueeze(-1), boxes, axis=-1)  # [n, 5]
    return body.op("MaxRoiPool", feature, rois, pooled_shape=[op.pooled_side] * 2, spatial_scale=1.0 / stride)


def _snapped(body: Body, low: Value, high: Value, stride: int) -> tuple[Value, Value]:
    """One axis of boxes quantised as by RoIPool, in cells: from the nearest cell of `low` to behind that of `high`."""
    first, last = (_rounded(body, edge * (1.0 / stride)) for edge in (low, high))
    return first, body.op("Max", last, first) + 1.0


def _rounded(body: Body, value: Value) -> Value:
    """The nearest whole number, halves away from zero: ONNX's Round takes halves to even."""
    return body.op("Sign", value) * body.op("Floor", body.op("Abs", value) + 0.5)


def _in_order(body: Body, by_level: Value, members: Sequence[Value], count: Value) -> Value:
    """Rows of `by_level` at the places that `members` says, of `count`; its last row everywhere else."""
    order = body.op("Concat", *members, axis=0)  # place of each row but the last
    found = order.dim(0)
    number = body.op("Range", 0, body.op("Squeeze", found), 1)
    sources = body.op("ScatterElements", body.op("Expand", found, count), order, number, axis=0)  # [B*R]
    return body.op("Gather", by_level, sources, axis=0)


def body_dense(op: MultiscaleRoIAlign) -> onnx.FunctionProto:
    """The body of static shapes: every box reads every level, and only its own counts.

    Raises:
        ContractError: the maximum of adaptive samples, for which ONNX has no op.
    """
    if op.mode == "align_max" and op.sampling_ratio == 0:
        raise ContractError(
            f"{NAME}: got mode align_max with sampling_ratio 0 (adaptive), which ONNX cannot say, expected a fixed "
            "number of sampling points; set roi_align.sampling_ratio to 2, or mode to align_avg"
        )
    body = Body(NAME)
    boxes, inputs = _inputs(body, op)
    read = _every_level_by_its_op if needs_plugin(op) else _every_level
    pooled = read(body, op, boxes, _in_float(inputs))
    return _function(body, op, boxes, inputs, pooled, "static shapes")


def _every_level(body: Body, op: MultiscaleRoIAlign, boxes: Value, features: Sequence[Value]) -> Value:
    """Boxes [B, R, 4] sampled on every level, outside the map on all but their own, and summed: [B*R, C, P, P]."""
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
        pool = "MaxPool" if op.mode == "align_max" else "AveragePool"
        total = body.op(pool, total, kernel_shape=[side, side], strides=[side, side])
    p = op.pooled_side
    by_box = total.reshape(0, 0, -1, p, p).transpose(0, 2, 1, 3, 4)  # [B, R, C, P, P]
    return by_box.reshape(-1, features[0].dim(1), p, p)


def _every_level_by_its_op(body: Body, op: MultiscaleRoIAlign, boxes: Value, features: Sequence[Value]) -> Value:
    """As `_every_level` where the number of samples depends on the box: ONNX's own op on each level, then a choice.

    A grid of a fixed number of points would need 48 a bin and axis on the baseline's canvas, 576 times those of 2. A
    box has no size on the levels that are not its own, so that it costs little there.
    """
    rows = boxes.reshape(-1, 4)  # [B*R, 4]
    level, valid = _levels(body, op, rows)
    images = body.op("Range", 0, body.op("Squeeze", rows.dim(0)), 1) // boxes.dim(1)
    pool = _max_roi_pool if op.mode == "pool" else _roi_align
    chosen: Value | None = None
    for index, (stride, feature) in enumerate(zip(op.strides, features, strict=True)):
        mine = (level.equal(index) & valid).unsqueeze(-1)  # [B*R, 1]
        pooled = pool(body, op, feature, body.op("Where", mine, rows, 0.0), images, stride)
        other = 0.0 if chosen is None else chosen
        chosen = body.op("Where", mine.unsqueeze(-1).unsqueeze(-1), pooled, other)
    assert chosen is not None  # a spec has at least one level
    return chosen


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
    if not op.level_bounds:  # a single level: there is nothing to compare with
        return (size * 0.0).cast(INT64), valid
    above = size.unsqueeze(-1) >= body.constant(np.array(op.level_bounds, dtype=np.float32))
    return body.op("ReduceSum", above.cast(INT64), body.ints([-1]), keepdims=0), valid


def _grid_axis(
    body: Body, op: MultiscaleRoIAlign, low: Value, high: Value, length: Value, stride: int, mine: Value
) -> Value:
    """Sampling coordinates [B, R, P*S] of one axis as GridSample wants them: -1 and 1 are the outer cell edges.

    A point more than one cell outside the map counts as 0; a nearer one reads the edge cell, as RoIAlign defines it.
    """
    start, end = low * (1.0 / stride), high * (1.0 / stride)
    if op.mode == "warp":
        start, end = _snapped(body, low, high, stride)
    side = end - start
    if not op.aligned:
        side = body.op("Max", side, 1.0)
    at = (_points_of_whole_cells if op.mode == "warp" else _points)(body, op, start, side)
    cells = length.cast(FLOAT)  # [1]
    inside = (at >= -1.0) & (at <= cells) & mine
    normalised = (at.clip(0.0, cells - 1.0) * 2.0 + 1.0) / cells - 1.0
    return body.op("Where", inside, normalised, _OUTSIDE)


def _points(body: Body, op: MultiscaleRoIAlign, start: Value, side: Value) -> Value:
    """Positions [B, R, P*S] of the sampling points along an axis, in cells, of boxes that are `side` long."""
    points = op.pooled_side * op.sampling_ratio
    fractions = (np.arange(points, dtype=np.float32) + np.float32(0.5)) / np.float32(points)
    at = start.unsqueeze(-1) + side.unsqueeze(-1) * body.constant(fractions.astype(np.float32))
    return at - 0.5 if op.aligned else at


def _points_of_whole_cells(body: Body, op: MultiscaleRoIAlign, start: Value, side: Value) -> Value:
    """As `_points`, rounded exactly as torchvision and ONNX Runtime round: bin by bin, then point by point.

    Boxes of whole cells have points exactly on the rim of the map, and the last bit decides whether they count.
    """
    bins = np.arange(op.pooled_side, dtype=np.float32).repeat(op.sampling_ratio)
    inner = np.tile(np.arange(op.sampling_ratio, dtype=np.float32) + np.float32(0.5), op.pooled_side)
    origin = start - 0.5 if op.aligned else start
    bin_side = (side / float(op.pooled_side)).unsqueeze(-1)
    first = origin.unsqueeze(-1) + body.constant(bins) * bin_side
    return first + body.constant(inner) * bin_side / float(op.sampling_ratio)


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
        pool = _pooled_cells if op.mode == "pool" else _pooled_samples
        pooled[row] = pool(op, feature.astype(np.float64), (y0 / stride, y1 / stride), (x0 / stride, x1 / stride))
    return pooled


def _pooled_samples(op: MultiscaleRoIAlign, feature: Float, y: tuple[float, float], x: tuple[float, float]) -> Float:
    """Average or maximum of the bilinear samples of each bin; y and x are the box's edges in cells. [C, P, P]."""
    rows = _sample_weights(*y, feature.shape[1], op)
    columns = _sample_weights(*x, feature.shape[2], op)
    samples = np.einsum("ph,chw,qw->cpq", rows, feature, columns)  # [C, P*Sy, P*Sx]
    p = op.pooled_side
    by_bin = samples.reshape(len(feature), p, len(rows) // p, p, len(columns) // p)
    found: Float = by_bin.max(axis=(2, 4)) if op.mode == "align_max" else by_bin.mean(axis=(2, 4))
    return found


def _sample_weights(start: float, end: float, cells: int, op: MultiscaleRoIAlign) -> Float:
    """[P*S, cells]: weight of each cell in each sampling point along one axis."""
    if op.mode == "warp":
        start, end = _round(start), max(_round(end), _round(start)) + 1.0
    side = end - start if op.aligned else max(end - start, 1.0)
    start = start - 0.5 if op.aligned else start
    points = op.pooled_side * (op.sampling_ratio or math.ceil(side / op.pooled_side))
    weights = np.zeros((points, cells))
    for point in range(points):
        at = start + side * (point + 0.5) / points
        if at < -1.0 or at > cells:
            continue
        at = min(max(at, 0.0), cells - 1.0)
        low = min(int(at), cells - 1)
        weights[point, low] += 1.0 - (at - low)
        weights[point, min(low + 1, cells - 1)] += at - low
    return weights


def _pooled_cells(op: MultiscaleRoIAlign, feature: Float, y: tuple[float, float], x: tuple[float, float]) -> Float:
    """RoIPool: the maximum of the cells of each bin, zero in a bin outside of the map. [C, P, P]."""
    p = op.pooled_side
    pooled = np.zeros((len(feature), p, p))
    rows, columns = _bin_cells(*y, feature.shape[1], p), _bin_cells(*x, feature.shape[2], p)
    for i, j in np.ndindex(p, p):
        cells = feature[:, rows[i][0] : rows[i][1], columns[j][0] : columns[j][1]]
        if cells.size:
            pooled[:, i, j] = cells.max(axis=(1, 2))
    return pooled


def _bin_cells(start: float, end: float, cells: int, p: int) -> list[tuple[int, int]]:
    """First cell and the one behind the last of each of P bins; the edges are float32, as wherever RoIPool exists."""
    first = _round(start)
    side = np.float32(max(_round(end) - first + 1, 1)) / np.float32(p)
    edges = [(math.floor(np.float32(i) * side), math.ceil(np.float32(i + 1) * side)) for i in range(p)]
    return [(min(max(int(first) + a, 0), cells), min(max(int(first) + b, 0), cells)) for a, b in edges]


def _round(value: float) -> float:
    """The nearest whole number, halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)
