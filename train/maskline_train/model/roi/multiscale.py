"""RoIAlign, or another RoI operator, over a feature pyramid: the torch path of the op `MultiscaleRoIAlign`.

Letters: B images, R boxes an image, N boxes of a batch, C channels, P pooled side, L levels.
Ref: paper section 3, RoIAlign; FPN paper, equation 1, for the level of a box.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskline_train.model import boxes as box_ops
from maskline_train.model.roi.modes import pool_level
from maskline_train.spec import FIRST_LEVEL, RoIAlignSpec


def multiscale_roi_align(
    features: Sequence[Tensor], boxes: Tensor, spec: RoIAlignSpec, pooled_side: int, first_level: int = FIRST_LEVEL
) -> Tensor:
    """Features of every box of a batch, each read from the level that fits its size.

    Args:
        features: L tensors [B, C, Hi, Wi], finest first, each of twice the stride of the one before: P2 to P5, or one.
        boxes: [B, R, 4] float32 xyxy canvas px.
        spec: operator, sampling and level assignment.
        pooled_side: P.
        first_level: number of the finest level.

    Returns:
        [B * R, C, P, P] of the features' dtype; zeros for a box without area.
    """
    batch, num_boxes = boxes.shape[:2]
    images = torch.arange(batch, device=boxes.device).repeat_interleave(num_boxes)
    return roi_align_flat(features, boxes.reshape(-1, 4), images, spec, pooled_side, first_level)


def roi_align_flat(
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    spec: RoIAlignSpec,
    pooled_side: int,
    first_level: int = FIRST_LEVEL,
) -> Tensor:
    """`multiscale_roi_align` for boxes that carry the index of their image.

    Args:
        features: L tensors [B, C, Hi, Wi], finest first, each of twice the stride of the one before.
        boxes: [N, 4] float32 xyxy canvas px, in any order; N may be 0.
        images: [N] int64 in 0..B-1.
        spec: operator, sampling and level assignment.
        pooled_side: P.
        first_level: number of the finest level.

    Returns:
        [N, C, P, P]. Coordinates and sums are float32 also where the features are half: half-precision coordinates
        would step by a whole pixel beyond x = 1024.
    """
    # The operators want one dtype for all; float64 passes through for gradient checks.
    dtype = torch.promote_types(features[0].dtype, torch.float32)
    rois = torch.cat([images[:, None].to(dtype), boxes.to(dtype)], dim=1)  # [N, 5]
    levels = box_levels(boxes, spec, len(features), first_level)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    rows, pooled = [], []
    for index, feature in enumerate(features):
        here = torch.nonzero((levels == first_level + index) & has_area)[:, 0]
        scale = 1.0 / 2 ** (first_level + index)
        rows.append(here)
        pooled.append(pool_level(feature.to(dtype), rois[here], pooled_side, scale, spec))
    result = features[0].new_zeros((boxes.shape[0], features[0].shape[1], pooled_side, pooled_side))
    return result.index_copy(0, torch.cat(rows), torch.cat(pooled).to(result.dtype))


def box_levels(boxes: Tensor, spec: RoIAlignSpec, num_levels: int, first_level: int = FIRST_LEVEL) -> Tensor:
    """Level number of each box: [N, 4] xyxy px to [N] int64, num_levels from first_level on; the finest if empty."""
    scale = box_ops.areas(boxes).clamp(min=0).sqrt() / spec.canonical_size_px
    # 1e-6 keeps a box of exactly the canonical size on its level and the logarithm finite.
    levels = torch.floor(spec.canonical_level + torch.log2(scale + 1e-6))
    return levels.clamp(first_level, first_level + num_levels - 1).to(torch.int64)
