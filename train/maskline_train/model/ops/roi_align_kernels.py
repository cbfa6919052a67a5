"""RoIAlign over a pyramid, its gradient and mask targets by our kernels.

Letters: B images, N boxes of a batch, C channels, Hi Wi level i, P pooled side, L levels, M mask side.
Ref: plugins/roi_align/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from maskline_host import roi_align
from torch import Tensor

from maskline_train.model.ops.kernels import Kernels, in_layout
from maskline_train.spec import RoIAlignSpec

_VECTOR = 8  # channels that the kernels move at once where channels lie last
# kROI_ALIGN_MAX_* of plugins/roi_align/attributes.h; a call beyond them is PyTorch's.
MOST_SIDE, _MOST_RATIO = 64, 16


def kernels_take(features: Sequence[Tensor], spec: RoIAlignSpec, pooled_side: int) -> bool:
    """Whether a call is within what the kernels can: float64 is for gradient checks, which is not."""
    small = pooled_side <= MOST_SIDE and spec.sampling_ratio <= _MOST_RATIO and len(features) <= roi_align.MAX_LEVELS
    return small and _name(features[0].dtype) in roi_align.FEATURE_TYPES


def layout_of(features: Sequence[Tensor]) -> torch.memory_format:
    """How the kernels read features, and lay out what they answer."""
    last = features[0].shape[1] % _VECTOR == 0 and all(
        feature.is_contiguous(memory_format=torch.channels_last) for feature in features
    )
    return torch.channels_last if last else torch.contiguous_format


def empty_pooled(features: Sequence[Tensor], boxes: Tensor, pooled_side: int) -> Tensor:
    """Room for `pool`'s answer."""
    shape = (boxes.shape[0], features[0].shape[1], pooled_side, pooled_side)
    first = features[0]
    return torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=layout_of(features))


def pool(
    kernels: Kernels,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    spec: RoIAlignSpec,
    pooled_side: int,
    first_level: int,
) -> Tensor:
    """Features of boxes; arguments and result of `roi.multiscale.roi_align_flat`, in the layout of the features."""
    layout = layout_of(features)
    pooled = empty_pooled(features, boxes, pooled_side)
    config = roi_align.Config(
        attributes=_attributes(spec, len(features), pooled_side, first_level), shape=_shape(features, boxes, layout)
    )
    maps = [in_layout(feature, layout) for feature in features]
    around = in_layout(boxes.float())
    kernels.call("multiscale_roi_align", config, [maps, around, images.contiguous(), pooled], boxes.device)
    return pooled


def gradients(
    kernels: Kernels,
    gradient: Tensor,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    spec: RoIAlignSpec,
    first_level: int,
    deterministic: bool,
) -> list[Tensor]:
    """The gradients of `pool`'s features, of their type and layout; summed in float32.

    Args:
        kernels: the library.
        gradient: [N, C, P, P], of what `pool` returned.
        features: what it got, as are the arguments that follow.
        boxes: [N, 4].
        images: [N] int64.
        spec: operator, sampling and level assignment.
        first_level: number of the finest level.
        deterministic: the same bytes each time; the kernels of maxima refuse.

    Returns:
        L tensors [B, C, Hi, Wi].

    Raises:
        HostLibraryError: a maximum, and deterministic.
    """
    layout = layout_of(features)
    attributes = _attributes(spec, len(features), gradient.shape[2], first_level)
    config = roi_align.BackwardConfig(
        attributes=attributes, shape=_shape(features, boxes, layout), deterministic=int(deterministic)
    )
    sums = [torch.zeros_like(feature, dtype=torch.float32, memory_format=layout) for feature in features]
    maximum = spec.mode in ("align_max", "pool")
    maps = [in_layout(feature, layout) for feature in features] if maximum else None
    given, around = in_layout(gradient.to(features[0].dtype), layout), in_layout(boxes.float())
    arguments = [maps, given, around, images.contiguous(), sums]
    kernels.call("multiscale_roi_align_backward", config, arguments, boxes.device)
    return [total.to(feature.dtype) for total, feature in zip(sums, features, strict=True)]


def mask_targets(
    kernels: Kernels, pixels: Tensor, starts: Tensor, windows: Tensor, boxes: Tensor, side: int, aligned: bool
) -> Tensor:
    """Mask targets of the RoIs of all images in one launch.

    Args:
        kernels: the library.
        pixels: uint8 [P], crops of masks of 0 and 1, each row by row.
        starts: int64 [N], where the crop of a RoI's object begins.
        windows: int32 [N, 4], that crop on the canvas: x0, y0, width, height; width 0 for a row without an object.
        boxes: float32 [N, 4] RoIs, xyxy canvas px.
        side: M.
        aligned: the half-pixel convention.

    Returns:
        float32 [N, M, M]: torchvision's `roi_align` of the crop, adaptive, at the RoI moved by (-x0, -y0); zeros for a
        row without an object, NaN for a crop that is not within the pixels.
    """
    targets = torch.empty((len(boxes), side, side), dtype=torch.float32, device=boxes.device)
    config = roi_align.MaskTargetsConfig(pixels=len(pixels), rows=len(boxes), side=side, aligned=int(aligned))
    arguments = [pixels.contiguous(), starts.contiguous(), windows.contiguous(), in_layout(boxes.float()), targets]
    kernels.call("mask_targets", config, arguments, boxes.device)
    return targets


def _attributes(spec: RoIAlignSpec, levels: int, pooled_side: int, first_level: int) -> roi_align.Attributes:
    return roi_align.make_attributes(
        [2 ** (first_level + level) for level in range(levels)],
        spec.canonical_size_px,
        spec.canonical_level,
        pooled_side,
        spec.sampling_ratio,
        spec.aligned,
        spec.mode,
    )


def _shape(features: Sequence[Tensor], boxes: Tensor, layout: torch.memory_format) -> roi_align.Shape:
    images, channels = features[0].shape[:2]
    cells = [(feature.shape[2], feature.shape[3]) for feature in features]
    last = layout == torch.channels_last
    return roi_align.make_shape(_name(features[0].dtype), last, images, len(boxes), channels, cells)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
