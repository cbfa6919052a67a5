"""ProposalNMS: from the outputs of the region proposal network to a fixed number of proposals.

`ProposalNMS(image_info [B,6], logits [B,A,Hi,Wi] x L, deltas [B,4A,Hi,Wi] x L) -> proposals [B,R,4], num_proposals [B]
int32`. Best `pre_nms_per_level` anchors of each level by logit, decode, clip to the resized image, drop small boxes,
NMS per level, best R of all levels. No score cut. Anchors are flattened in the order (y, x, a). Ties: the lower level,
then the lower index. Rows past the count are zero. Ref: Mask R-CNN 3.1 ("1000 for FPN"), FPN paper 4.1.

Letters: B images, L levels, A anchors a cell, Hi Wi level i, N anchors of a level (A*Hi*Wi), T candidates a level,
R proposals an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from maskline_export.custom_ops import box_math
from maskline_export.custom_ops.body import FLOAT, Body, Value, node_attributes

NAME = "ProposalNMS"
_WEIGHTS = (1.0, 1.0, 1.0, 1.0)

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class ProposalNMS:
    """Attributes of a node."""

    strides: tuple[int, ...]
    anchor_sizes: tuple[float, ...]  # px, dealt out over the levels, finest first, the same number each
    aspect_ratios: tuple[float, ...]  # height / width
    anchor_rounded: bool  # corner offsets rounded to whole px (half to even)
    anchor_centre_offset: float  # in strides
    pre_nms_per_level: int  # T
    max_proposals: int  # R
    nms_thresh: float
    min_side: float  # px

    @property
    def anchors_per_cell(self) -> int:
        """A."""
        return len(self.anchor_sizes) // len(self.strides) * len(self.aspect_ratios)

    def cell_anchors(self, level: int) -> Array:
        """[A, 4] float32 corner offsets of a level's anchors around their centre, by size, then by ratio."""
        ratios = np.array(self.aspect_ratios, dtype=np.float32)
        heights = np.sqrt(ratios)
        widths = np.float32(1) / heights
        each = len(self.anchor_sizes) // len(self.strides)
        sizes = np.array(self.anchor_sizes[level * each : (level + 1) * each], dtype=np.float32)
        shapes = np.stack([-widths, -heights, widths, heights], axis=1)  # of an anchor of area 1
        corners = (shapes[None] * sizes[:, None, None] / np.float32(2)).reshape(-1, 4)
        offsets: Array = np.round(corners) if self.anchor_rounded else corners
        return offsets


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """The best T anchors of each image and level; each field is [B, T], or [B, L*T] once joined."""

    logits: Value
    real: Value  # bool: not padding of a level with fewer than T anchors
    anchors: box_math.Corners
    deltas: tuple[Value, Value, Value, Value]


def body_ort(op: ProposalNMS) -> onnx.FunctionProto:
    """The body for ONNX Runtime: its NonMaxSuppression on all images and levels at once."""

    def keep(body: Body, corners: box_math.Corners, valid: Value) -> Value:
        # Candidates are sorted, so their rank is a score that has no ties and is above zero where the box is valid.
        rank = np.arange(op.pre_nms_per_level, 0, -1, dtype=np.float32)[None]
        boxes = box_math.stack(body, corners)
        return box_math.keep_by_onnx_nms(body, boxes, valid * body.constant(rank), op.nms_thresh)

    return _body(op, keep, "ONNX Runtime")


def body_dense(op: ProposalNMS) -> onnx.FunctionProto:
    """The body of static shapes: a T x T matrix of overlaps a level and the fixed point of greedy NMS."""

    def keep(body: Body, corners: box_math.Corners, valid: Value) -> Value:
        pairs = box_math.pairs_above(body, corners, op.nms_thresh, op.pre_nms_per_level)
        return box_math.keep_by_fixed_point(body, pairs.cast(FLOAT), valid, op.pre_nms_per_level)

    return _body(op, keep, "static shapes")


def _body(op: ProposalNMS, keep: Callable[[Body, box_math.Corners, Value], Value], what: str) -> onnx.FunctionProto:
    """The function around `keep(body, corners [B*L, T] x 4, valid [B*L, T] float) -> kept [B*L, T] float`."""
    body = Body(NAME)
    levels, candidates = len(op.strides), op.pre_nms_per_level
    image_info = body.input("image_info")
    logits = [body.input(f"logits_{level}") for level in range(levels)]
    deltas = [body.input(f"deltas_{level}") for level in range(levels)]
    found = _join(body, [_best_of_level(body, op, level, logits[level], deltas[level]) for level in range(levels)])
    image_size = (image_info.slice(1, 0, 1), image_info.slice(1, 1, 2))  # [B, 1] each
    corners = box_math.decode(body, found.anchors, found.deltas, _WEIGHTS, image_size)  # [B, L*T] each
    valid = (found.real & box_math.large_enough(corners, op.min_side)).cast(FLOAT)
    x0, y0, x1, y1 = (corner.reshape(-1, candidates) for corner in corners)  # [B*L, T]
    kept = keep(body, (x0, y0, x1, y1), valid.reshape(-1, candidates)).reshape(-1, levels * candidates)
    rows, real, count = box_math.top_kept(body, found.logits, kept, levels * candidates, op.max_proposals)
    proposals = box_math.rows_or_zero(body, box_math.stack(body, corners), rows, real)
    doc = f"Proposals from region proposal outputs ({what}); attribute values are baked in."
    outputs = [("proposals", proposals), ("num_proposals", count)]
    return body.function([image_info, *logits, *deltas], outputs, list(node_attributes(op)), doc)


def _best_of_level(body: Body, op: ProposalNMS, level: int, logits: Value, deltas: Value) -> _Candidates:
    """The best T anchors of one level, best first; only their deltas and anchors are ever computed."""
    anchors, top = op.anchors_per_cell, op.pre_nms_per_level
    width = logits.dim(3)
    cells = logits.dim(2) * width  # [1]
    flat = logits.transpose(0, 2, 3, 1).reshape(0, -1)  # [B, N]
    # T columns of padding make T static even where a level has fewer anchors.
    values, index = body.ops(2, "TopK", box_math.pad_columns(body, flat, top), body.ints([top]), axis=1)
    count = cells * anchors
    real = index < count
    index = body.op("Min", index, count - 1)
    cell = index // anchors
    anchor = index - cell * anchors
    row = cell // width
    column = cell - row * width
    flat_deltas = deltas.reshape(0, -1)  # [B, 4A*Hi*Wi], channel 4a+j
    first = anchor * 4 * cells + cell
    dx, dy, dw, dh = (body.op("GatherElements", flat_deltas, first + cells * j, axis=1) for j in range(4))
    stride, offset = float(op.strides[level]), op.anchor_centre_offset
    x, y = ((place.cast(FLOAT) + offset) * stride for place in (column, row))
    cell_anchors = op.cell_anchors(level)
    x0, y0, x1, y1 = (
        centre + body.op("Gather", body.constant(np.ascontiguousarray(cell_anchors[:, j])), anchor)
        for j, centre in enumerate((x, y, x, y))
    )
    return _Candidates(values, real, (x0, y0, x1, y1), (dx, dy, dw, dh))


def _join(body: Body, levels: Sequence[_Candidates]) -> _Candidates:
    def joined(values: Sequence[Value]) -> Value:
        return body.op("Concat", *values, axis=1)

    x0, y0, x1, y1 = (joined([level.anchors[j] for level in levels]) for j in range(4))
    dx, dy, dw, dh = (joined([level.deltas[j] for level in levels]) for j in range(4))
    logits, real = joined([level.logits for level in levels]), joined([level.real for level in levels])
    return _Candidates(logits, real, (x0, y0, x1, y1), (dx, dy, dw, dh))


def reference(
    op: ProposalNMS, image_info: Array, logits: Sequence[Array], deltas: Sequence[Array]
) -> tuple[Array, npt.NDArray[np.int32]]:
    """The op in numpy, image by image and level by level, from the definition.

    Args:
        op: attributes.
        image_info: [B, 6] float32, resized height and width first.
        logits: L arrays [B, A, Hi, Wi] float32.
        deltas: L arrays [B, 4A, Hi, Wi] float32.

    Returns:
        proposals [B, R, 4] float32 best first, zeros past the count; num_proposals [B] int32.
    """
    images = len(image_info)
    proposals = np.zeros((images, op.max_proposals, 4), dtype=np.float32)
    counts = np.zeros(images, dtype=np.int32)
    for image in range(images):
        scores, boxes = [], []
        for level in range(len(op.strides)):
            level_scores, level_boxes = _reference_level(
                op, level, image_info[image], logits[level][image], deltas[level][image]
            )
            scores.append(level_scores)
            boxes.append(level_boxes)
        best = np.argsort(-np.concatenate(scores), kind="stable")[: op.max_proposals]
        counts[image] = len(best)
        proposals[image, : len(best)] = np.concatenate(boxes)[best]
    return proposals, counts


def _reference_level(
    op: ProposalNMS, level: int, image_info: Array, logits: Array, deltas: Array
) -> tuple[Array, Array]:
    """Logits [n] and boxes [n, 4] that survive on one level of one image, best first."""
    num_anchors, height, width = logits.shape
    scores = logits.transpose(1, 2, 0).reshape(-1)
    all_deltas = deltas.reshape(num_anchors, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    ys, xs = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    centres = (np.stack([xs, ys, xs, ys], axis=-1) + op.anchor_centre_offset) * op.strides[level]
    anchors = (centres[:, :, None] + op.cell_anchors(level)).reshape(-1, 4).astype(np.float32)
    best = np.argsort(-scores, kind="stable")[: op.pre_nms_per_level]
    boxes = box_math.decode_numpy(anchors[best], all_deltas[best], _WEIGHTS, image_info[0], image_info[1])
    large = ((boxes[:, 2:] - boxes[:, :2]) >= np.float32(op.min_side)).all(axis=1)
    scores, boxes = scores[best][large], boxes[large]
    kept = box_math.nms_numpy(boxes, op.nms_thresh)
    return scores[kept], boxes[kept]
