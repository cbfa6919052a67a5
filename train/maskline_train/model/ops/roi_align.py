"""`maskline::multiscale_roi_align` and its backward: one operator for all levels, without a step that depends on data.

Features come in the type that the trunk computes in, with autocast or without it: boxes, coordinates and sums are
float32 (float64 for float64 features), and autocast has nothing to change.

Letters: B images, N boxes of a batch, C channels, Hi Wi level i, P pooled side, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskline_train.model.ops import roi_align_kernels
from maskline_train.model.ops.kernels import Kernels, kernels_for
from maskline_train.model.roi.by_level import empty_pooled, gradients_by_level, pool_by_level
from maskline_train.model.roi.gradient import gradient_format
from maskline_train.model.roi.modes import greatest_dtype
from maskline_train.spec import RoIAlignSpec


@torch.library.custom_op("maskline::multiscale_roi_align", mutates_args=())
def multiscale_roi_align_op(
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    pooled_side: int,
    first_level: int,
    sampling_ratio: int,
    aligned: bool,
    canonical_size_px: float,
    canonical_level: int,
    mode: str,
) -> tuple[Tensor, Tensor]:
    """Features of boxes; what `roi.multiscale.roi_align_flat` says, the spec as plain values.

    Args:
        features: L tensors [B, C, Hi, Wi], finest first.
        boxes: [N, 4] float32 xyxy canvas px.
        images: [N] int64 in 0..B-1.
        pooled_side: P.
        first_level: number of the finest level.
        sampling_ratio: of `RoIAlignSpec`, as are the arguments that follow.
        aligned: the half-pixel convention.
        canonical_size_px: of a box that is read from `canonical_level`.
        canonical_level: number of a level.
        mode: the operator.

    Returns:
        [N, C, P, P] of the features' dtype; and what the backward wants to know of a maximum (`PooledByLevel`).
    """
    spec = RoIAlignSpec(sampling_ratio, aligned, canonical_size_px, canonical_level, mode)  # type: ignore[arg-type]
    kernels = _kernels(features, spec, pooled_side)
    if kernels is None:
        return pool_by_level(features, boxes, images, spec, pooled_side, first_level)
    pooled = roi_align_kernels.pool(kernels, features, boxes, images, spec, pooled_side, first_level)
    return pooled, _nothing(boxes)


@torch.library.custom_op("maskline::multiscale_roi_align_backward", mutates_args=())
def multiscale_roi_align_backward_op(
    gradient: Tensor,
    greatest: Tensor,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    pooled_side: int,
    first_level: int,
    sampling_ratio: int,
    aligned: bool,
    canonical_size_px: float,
    canonical_level: int,
    mode: str,
) -> list[Tensor]:
    """The gradients of the features.

    Args:
        gradient: [N, C, P, P], of the features of boxes.
        greatest: what the operator returned beside them.
        features: as `multiscale_roi_align_op`, as are the arguments that follow.
        boxes: [N, 4].
        images: [N].
        pooled_side: P.
        first_level: number of the finest level.
        sampling_ratio: of `RoIAlignSpec`.
        aligned: likewise.
        canonical_size_px: likewise.
        canonical_level: likewise.
        mode: likewise.

    Returns:
        L tensors [B, C, Hi, Wi] of the features' dtype.
    """
    spec = RoIAlignSpec(sampling_ratio, aligned, canonical_size_px, canonical_level, mode)  # type: ignore[arg-type]
    kernels = _kernels_of(greatest, features, spec, pooled_side)
    if kernels is None:
        return gradients_by_level(gradient, greatest, features, boxes, images, spec, first_level)
    deterministic = torch.are_deterministic_algorithms_enabled()
    return roi_align_kernels.gradients(kernels, gradient, features, boxes, images, spec, first_level, deterministic)


@multiscale_roi_align_op.register_fake
def _pooled_like(
    features: Sequence[Tensor], boxes: Tensor, images: Tensor, pooled_side: int, first_level: int, *settings: Any
) -> tuple[Tensor, Tensor]:
    spec = RoIAlignSpec(*settings)
    if _kernels(features, spec, pooled_side) is None:
        return empty_pooled(features, boxes, spec, pooled_side)
    return roi_align_kernels.empty_pooled(features, boxes, pooled_side), _nothing(boxes)


@multiscale_roi_align_backward_op.register_fake
def _gradients_like(
    gradient: Tensor,
    greatest: Tensor,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    pooled_side: int,
    first_level: int,
    *settings: Any,
) -> list[Tensor]:
    spec = RoIAlignSpec(*settings)
    by_torch = _kernels_of(greatest, features, spec, pooled_side) is None
    layout = gradient_format(features[0].device, spec) if by_torch else roi_align_kernels.layout_of(features)
    return [torch.empty_like(feature, memory_format=layout) for feature in features]


def _kernels(features: Sequence[Tensor], spec: RoIAlignSpec, pooled_side: int) -> Kernels | None:
    """The kernels for a call; PyTorch's operators say themselves that a maximum's gradient is not deterministic."""
    maximum = greatest_dtype(spec) is not None
    if maximum and torch.are_deterministic_algorithms_enabled():
        return None
    taken = roi_align_kernels.kernels_take(features, spec, pooled_side)
    return kernels_for(features[0].device) if taken else None


def _kernels_of(greatest: Tensor, features: Sequence[Tensor], spec: RoIAlignSpec, side: int) -> Kernels | None:
    """The kernels for the backward of a call: none of a maximum that PyTorch has found, and has said where it was."""
    by_torch = greatest.dim() > 1 or not roi_align_kernels.kernels_take(features, spec, side)
    return None if by_torch else kernels_for(features[0].device)


def _nothing(boxes: Tensor) -> Tensor:
    """Where the greatest were, of kernels that look for it again."""
    return boxes.new_empty(0, dtype=torch.int64)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    features, boxes, images, *settings = inputs
    ctx.save_for_backward(output[1], boxes, images, *features)
    ctx.settings = settings


def _backward(ctx: Any, gradient: Tensor, _: None) -> tuple[list[Tensor] | None, ...]:
    greatest, boxes, images, *features = ctx.saved_tensors
    gradients = multiscale_roi_align_backward_op(gradient, greatest, features, boxes, images, *ctx.settings)
    return gradients, *[None] * (2 + len(ctx.settings))


multiscale_roi_align_op.register_autograd(_backward, setup_context=_keep)
