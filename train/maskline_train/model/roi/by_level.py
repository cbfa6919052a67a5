"""A RoI operator over a feature pyramid, and its gradient, by PyTorch's own operators: a level at a time.

Letters: B images, N boxes of a batch, C channels, Hi Wi level i, P pooled side, L levels.
Ref: FPN paper, equation 1, for the level of a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from maskline_train.model import boxes as box_ops
from maskline_train.model.roi.gradient import level_gradient
from maskline_train.model.roi.modes import Pooled, greatest_dtype, pool_level
from maskline_train.spec import FIRST_LEVEL, RoIAlignSpec


class PooledByLevel(NamedTuple):
    """Features of boxes.

    Attributes:
        values: [N, C, P, P] of the features' dtype.
        greatest: of a maximum, [N, C, P, P], where it was (`modes.Pooled`); empty, int64, of an average.
    """

    values: Tensor
    greatest: Tensor


class _OnLevel(NamedTuple):
    """The boxes that are read from one level.

    Attributes:
        rows: int64 [n], those of the boxes.
        rois: [n, 5] image index and xyxy box, canvas px, in the type that is computed in.
        scale: cells a pixel.
    """

    rows: Tensor
    rois: Tensor
    scale: float


def pool_by_level(
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    spec: RoIAlignSpec,
    pooled_side: int,
    first_level: int = FIRST_LEVEL,
) -> PooledByLevel:
    """Features of boxes; arguments and values are those of `multiscale.roi_align_flat`.

    Coordinates and sums are float32 also where the features are half: half-precision coordinates would step by a whole
    pixel beyond x = 1024.
    """
    dtype = computed_in(features[0])
    result = empty_pooled(features, boxes, spec, pooled_side)
    result.values.zero_()  # boxes without an area
    result.greatest.zero_()
    for feature, level in zip(features, _levels(features, boxes, images, spec, first_level), strict=True):
        pooled = pool_level(feature.to(dtype), level.rois, pooled_side, level.scale, spec)
        result.values.index_copy_(0, level.rows, pooled.values.to(feature.dtype))  # rows at once, unlike an index
        if pooled.greatest is not None:
            result.greatest.index_copy_(0, level.rows, pooled.greatest)
    return result


def empty_pooled(features: Sequence[Tensor], boxes: Tensor, spec: RoIAlignSpec, pooled_side: int) -> PooledByLevel:
    """Room for what `pool_by_level` returns."""
    shape = (boxes.shape[0], features[0].shape[1], pooled_side, pooled_side)
    dtype = greatest_dtype(spec)
    greatest = boxes.new_empty((0,) if dtype is None else shape, dtype=dtype or torch.int64)
    return PooledByLevel(features[0].new_empty(shape), greatest)


def gradients_by_level(
    gradient: Tensor,
    greatest: Tensor,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    spec: RoIAlignSpec,
    first_level: int = FIRST_LEVEL,
) -> list[Tensor]:
    """The gradients of `pool_by_level`'s features.

    Args:
        gradient: [N, C, P, P], of the values that it returned.
        greatest: what it returned.
        features: those that it got, as are the arguments that follow.
        boxes: [N, 4] float32.
        images: [N] int64.
        spec: operator, sampling and level assignment.
        first_level: number of the finest level.

    Returns:
        L tensors [B, C, Hi, Wi] of the features' dtype, laid out as `gradient_format` says.
    """
    dtype = computed_in(features[0])
    found = []
    for feature, level in zip(features, _levels(features, boxes, images, spec, first_level), strict=True):
        of_values = gradient.index_select(0, level.rows).to(dtype)
        given = Pooled(of_values, None if greatest_dtype(spec) is None else greatest.index_select(0, level.rows))
        found.append(level_gradient(given, feature.shape, level.rois, level.scale, spec).to(feature.dtype))
    return found


def computed_in(feature: Tensor) -> torch.dtype:
    """The type of coordinates and sums: float32; float64 passes through for gradient checks."""
    return torch.promote_types(feature.dtype, torch.float32)


def box_levels(boxes: Tensor, spec: RoIAlignSpec, num_levels: int, first_level: int = FIRST_LEVEL) -> Tensor:
    """Level number of each box: [N, 4] xyxy px to [N] int64, num_levels from first_level on; the finest if empty."""
    scale = box_ops.areas(boxes).clamp(min=0).sqrt() / spec.canonical_size_px
    # 1e-6 keeps a box of exactly the canonical size on its level and the logarithm finite.
    levels = torch.floor(spec.canonical_level + torch.log2(scale + 1e-6))
    return levels.clamp(first_level, first_level + num_levels - 1).to(torch.int64)


def _levels(
    features: Sequence[Tensor], boxes: Tensor, images: Tensor, spec: RoIAlignSpec, first_level: int
) -> list[_OnLevel]:
    """The boxes with an area, a level at a time, finest first."""
    dtype = computed_in(features[0])  # the operators want one for all
    rois = torch.cat([images[:, None].to(dtype), boxes.to(dtype)], dim=1)  # [N, 5]
    levels = box_levels(boxes, spec, len(features), first_level)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    found = []
    for level in range(first_level, first_level + len(features)):
        rows = torch.nonzero((levels == level) & has_area)[:, 0]
        found.append(_OnLevel(rows, rois[rows], 1.0 / 2**level))
    return found
