"""Detectors of first and last pixels: a tiny one, and what such a detector says, in float64, written from its rules.

None of the arithmetic is the code's own: corners with "+ 1" and "- 1", as the sources have them. The layers are the
model's; RoIAlign is torchvision's, in float64.

Letters: A anchors a cell, R proposals, N boxes, K foreground classes, C channels, P pooled side, D detections.
Ref: maskrcnn_benchmark's modeling/rpn/anchor_generator.py, modeling/rpn/inference.py, modeling/box_coder.py,
structures/bounding_box.py, modeling/poolers.py, modeling/roi_heads/box_head/inference.py; csrc/cpu/nms_cpu.cpp.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import AnchorSpec, ModelSpec, RoIAlignSpec
from support.models.tiny import tiny_spec
from torchvision.ops import roi_align

Array = npt.NDArray[np.float64]

_RATIOS = (0.5, 1.0, 2.0)
_GREATEST = np.log(1000.0 / 16.0)


def cells(stride: int, sizes_px: tuple[float, ...]) -> tuple[tuple[float, float, float, float], ...]:
    """The anchors of a cell by Detectron's rule, by size, then by ratio: shaped in whole pixels, then enlarged."""
    found = []
    for size in sizes_px:
        for ratio in _RATIOS:
            width = round(np.sqrt(stride * stride / ratio))
            height = round(width * ratio)
            sides = np.array([width, height]) * size / stride
            centre, reach = (stride - 1) / 2, (sides - 1) / 2
            found.append((*map(float, centre - reach), *map(float, centre + reach)))
    return tuple(found)


def pixel_spec(spec: ModelSpec | None = None) -> ModelSpec:
    """The spec with boxes of pixels, and anchors of the sizes that it has, by Detectron's rule."""
    spec = spec or tiny_spec()
    levels = spec.backbone.rpn_levels
    sizes = [spec.anchors.sizes_of_level(index, len(levels)) for index in range(len(levels))]
    listed = tuple(cells(2**level, of_level) for level, of_level in zip(levels, sizes, strict=True))
    mask_head = None if spec.mask_head is None else dataclasses.replace(spec.mask_head, paste="detectron")
    return dataclasses.replace(
        spec,
        pixel_boxes=True,
        anchors=AnchorSpec(cells_px=listed),
        roi_align=RoIAlignSpec(aligned=False, canonical_size_px=56.0),
        mask_head=mask_head,
    )


def decoded(deltas: Array, boxes: Array, weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Array:
    """Corners [N, 4] from deltas [N, 4] and corners [N, 4]."""
    deltas = deltas / np.array(weights)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    centres = boxes[:, :2] + 0.5 * sides + deltas[:, :2] * sides
    grown = np.exp(np.minimum(deltas[:, 2:], _GREATEST)) * sides
    return np.concatenate([centres - 0.5 * grown, centres + 0.5 * grown - 1], axis=1)


def clipped(boxes: Array, size: tuple[float, float]) -> Array:
    """Corners [N, 4] cut to the pixels of an image of this size (height, width)."""
    last = np.array([size[1], size[0], size[1], size[0]]) - 1
    return np.clip(boxes, 0, last)


def overlaps(box: Array, others: Array) -> Array:
    """IoU of corners [4] with corners [N, 4]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + 1
    shared = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2] + 1, axis=1)
    return shared / (np.prod(box[2:] - box[:2] + 1) + areas - shared)


def suppressed(boxes: Array, scores: Array, thresh: float) -> list[int]:
    """The rows of corners [N, 4] that greedy NMS keeps, best score first."""
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if not kept or (overlaps(boxes[row], boxes[kept]) < thresh).all():
            kept.append(int(row))
    return kept


def all_anchors(spec: ModelSpec, level: int, height: int, width: int) -> Array:
    """Corners [height * width * A, 4] of a level's anchors, in the order (y, x, a)."""
    assert spec.anchors.cells_px is not None
    of_cell = np.array(spec.anchors.cells_px[level])
    stride = 2 ** spec.backbone.rpn_levels[level]
    ys, xs = np.mgrid[:height, :width] * stride
    return (np.stack([xs, ys, xs, ys], axis=-1)[:, :, None] + of_cell).reshape(-1, 4)


def proposals(spec: ModelSpec, logits: list[Any], deltas: list[Any], size: tuple[float, float]) -> Array:
    """Corners [R, 4] of one image's proposals, best first, from its RPN outputs [1, A, Hi, Wi] and [1, 4A, Hi, Wi]."""
    boxes, scores = [], []
    for level, (of_level, moves) in enumerate(zip(logits, deltas, strict=True)):
        found = of_level[0].permute(1, 2, 0).reshape(-1).double().numpy()
        by_anchor = moves[0].permute(1, 2, 0).reshape(-1, 4).double().numpy()
        best = np.argsort(-found, kind="stable")[: spec.proposals.pre_nms_per_level]
        anchors = all_anchors(spec, level, *of_level.shape[2:])
        of_image = clipped(decoded(by_anchor[best], anchors[best]), size)
        kept = suppressed(of_image, found[best], spec.proposals.nms_thresh)
        boxes.append(of_image[kept])
        scores.append(found[best][kept])
    order = np.argsort(-np.concatenate(scores), kind="stable")[: spec.proposals.max_proposals]
    return np.concatenate(boxes)[order]


def levels_of(spec: ModelSpec, boxes: Array, more: float = 1.0) -> npt.NDArray[np.int64]:
    """The level [N] that corners [N, 4] are read from; `more` is what a side is above the corners' difference."""
    sides = boxes[:, 2:] - boxes[:, :2] + more
    align, levels = spec.roi_align, spec.backbone.roi_levels
    size = np.sqrt(np.maximum(np.prod(sides, axis=1), 1e-12)) / align.canonical_size_px
    found: npt.NDArray[np.int64] = np.floor(align.canonical_level + np.log2(size + 1e-6)).astype(np.int64)
    return np.clip(found, levels[0], levels[-1])


def pooled(spec: ModelSpec, features: list[torch.Tensor], boxes: Array, side: int) -> torch.Tensor:
    """Features [N, C, P, P] float64 of corners [N, 4] of one image."""
    levels = levels_of(spec, boxes)
    found = torch.zeros(len(boxes), features[0].shape[1], side, side, dtype=torch.float64)
    for feature, level in zip(features, spec.backbone.roi_levels, strict=False):
        here = np.flatnonzero(levels == level)
        rois = [torch.from_numpy(boxes[here])]
        ratio = spec.roi_align.sampling_ratio
        found[here] = roi_align(feature.double(), rois, side, 2.0**-level, ratio, spec.roi_align.aligned)
    return found


def detections(
    model: MaskRCNN, features: list[torch.Tensor], boxes: Array, size: tuple[float, float]
) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Corners [D, 4], scores [D] and labels [D] of one image from proposals [R, 4], best first."""
    spec = model.spec
    rois = pooled(spec, features, boxes, spec.box_head.pooled_side)
    logits, deltas = (output.double() for output in model.box_outputs(rois.float()))
    scores = logits.softmax(dim=1).numpy()[:, :-1]
    found = []
    for label in range(spec.num_classes):
        rows = np.flatnonzero(scores[:, label] > spec.box_head.score_thresh)
        moves = deltas[rows, 4 * label : 4 * label + 4].numpy()
        of_class = clipped(decoded(moves, boxes[rows], spec.box_head.delta_weights), size)
        kept = suppressed(of_class, scores[rows, label], spec.box_head.nms_thresh)
        found.append((of_class[kept], scores[rows, label][kept], np.full(len(kept), label)))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(-columns[1], kind="stable")[: spec.box_head.max_detections]
    return columns[0][order], columns[1][order], columns[2][order]
