"""The four RoI operators on one level of features: RoIAlign by average or maximum, RoIPool, RoIWarp.

Letters: B images, N boxes, C channels, H W cells of the map, P pooled side, S sampling points a bin and axis.
Ref: paper section 3, RoIAlign, and table 2c; Fast R-CNN section 2.1 for RoIPool; MNC (Dai et al. 2016) for RoIWarp.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from maskline_train.spec import RoIAlignSpec


class Pooled(NamedTuple):
    """Features of boxes.

    Attributes:
        values: [N, C, P, P].
        greatest: of a maximum, [N, C, P, P], where it was: the cell of the map (`pool`, int32, -1 for none) or the
            sampling point of the box (`align_max`, int64), in row-major order; None of an average.
    """

    values: Tensor
    greatest: Tensor | None


def greatest_dtype(spec: RoIAlignSpec) -> torch.dtype | None:
    """The type of `Pooled.greatest`, None of an average."""
    return {"pool": torch.int32, "align_max": torch.int64}.get(spec.mode)


def pool_level(feature: Tensor, rois: Tensor, pooled_side: int, scale: float, spec: RoIAlignSpec) -> Pooled:
    """Features of boxes of one map, by the operator that `spec.mode` says; `gradient.level_gradient` is its gradient.

    Args:
        feature: [B, C, H, W] float32 or float64.
        rois: [N, 5] of the same dtype: image index and xyxy box in canvas px, with an area.
        pooled_side: P.
        scale: cells a pixel.
        spec: mode and sampling.

    Returns:
        Values: `align_avg` and `warp`: the average of S x S bilinear samples a bin, a sample more than a cell
        outside of the map counts as 0. `align_max`: their maximum (ties: the first one gets the gradient, in row-major
        order). `pool`: the maximum of the cells of a quantised bin, 0 for a bin outside of the map.
    """
    if spec.mode == "pool":
        return Pooled(*torch.ops.torchvision.roi_pool(feature, rois, scale, pooled_side, pooled_side))
    if spec.mode == "align_max":
        return _align_max(feature, rois, pooled_side, scale, spec)
    if spec.mode == "warp":
        rois = quantised(rois, scale)
    return Pooled(roi_align(feature, rois, pooled_side, scale, spec.sampling_ratio, spec.aligned), None)


def quantised(rois: Tensor, scale: float) -> Tensor:
    """RoIs as RoIPool sees them: both edges rounded to a cell, halves away from zero, and both cells included.

    Paper, section 3: RoIWarp was implemented "as quantizing RoI just like RoIPool"; inside of it, it is bilinear.

    Args:
        rois: [N, 5], image index and xyxy box in canvas px.
        scale: cells a pixel, a power of two.

    Returns:
        [N, 5]: boxes of whole cells, at least one wide and high, in canvas px.
    """
    cells = rois[:, 1:] * scale
    magnitude = cells.abs()
    whole = magnitude.floor()  # not floor(x + 0.5): in float32 that sum rounds 0.49999997 up to 1
    nearest = (whole + (magnitude - whole >= 0.5).to(whole.dtype)) * cells.sign()
    start = nearest[:, :2]
    side = (nearest[:, 2:] - start + 1.0).clamp(min=1.0)
    return torch.cat([rois[:, :1], start / scale, (start + side) / scale], dim=1)


def _align_max(feature: Tensor, rois: Tensor, pooled_side: int, scale: float, spec: RoIAlignSpec) -> Pooled:
    """RoIAlign by maximum: the value at every sampling point, which is a bin of one sample, then their maximum.

    Differs: ONNX's RoiAlign of mode `max` takes the maximum of the weighted corners, never interpolating.
    """
    if spec.sampling_ratio > 0:
        points = roi_align(feature, rois, pooled_side * spec.sampling_ratio, scale, 1, spec.aligned)
        return Pooled(*functional.max_pool2d_with_indices(points, (spec.sampling_ratio,) * 2))
    shape = (len(rois), feature.shape[1], pooled_side, pooled_side)
    pooled = Pooled(feature.new_zeros(shape), torch.zeros(shape, dtype=torch.int64, device=feature.device))
    for count, here in adaptive_groups(rois, pooled_side, scale, spec.aligned):
        points = roi_align(feature, rois[here], [pooled_side * number for number in count], scale, 1, spec.aligned)
        for whole, part in zip(pooled, functional.max_pool2d_with_indices(points, count), strict=True):
            assert whole is not None
            whole.index_copy_(0, here, part)
    return pooled


def adaptive_groups(
    rois: Tensor, pooled_side: int, scale: float, aligned: bool
) -> list[tuple[tuple[int, int], Tensor]]:
    """RoIs [N, 5] with equally many sampling points a bin: their number (rows, columns), and which they are, [n]."""
    counts = _adaptive_counts(rois, pooled_side, scale, aligned)  # [N, 2]
    return [
        ((rows, columns), torch.nonzero((counts == counts.new_tensor((rows, columns))).all(dim=1))[:, 0])
        for rows, columns in torch.unique(counts, dim=0).tolist()
    ]


def _adaptive_counts(rois: Tensor, pooled_side: int, scale: float, aligned: bool) -> Tensor:
    """Sampling points a bin, [N, 2] int64 (rows, columns): the cells that a bin is wide, rounded up."""
    sides = (rois[:, [4, 3]] - rois[:, [2, 1]]) * scale
    if not aligned:
        sides = sides.clamp(min=1.0)  # the legacy rule: at least one cell
    return (sides / pooled_side).ceil().clamp(min=1).to(torch.int64)
