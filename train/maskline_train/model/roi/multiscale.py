"""RoIAlign, or another RoI operator, over a feature pyramid, with a gradient for the features.

Letters: B images, R boxes an image, N boxes of a batch, C channels, P pooled side, L levels.
Ref: paper section 3, RoIAlign; FPN paper, equation 1, for the level of a box.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskline_train.model.ops.roi_align import multiscale_roi_align_op
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
    images = torch.arange(batch, device=boxes.device)[:, None].expand(batch, num_boxes).reshape(-1)
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
        [N, C, P, P] of the features' dtype; boxes, coordinates and sums are float32 also where that is half.
    """
    pooled: Tensor
    pooled, _ = multiscale_roi_align_op(
        list(features),
        boxes,
        images,
        pooled_side,
        first_level,
        spec.sampling_ratio,
        spec.aligned,
        spec.canonical_size_px,
        spec.canonical_level,
        spec.mode,
    )
    return pooled
