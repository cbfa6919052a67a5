"""The gradient of a RoI operator on one level of features.

Where torchvision has one, its backward pass adds every sample of every channel into the map one number at a time; on a
CPU on one core: a sixth of a training step of ResNet-50-FPN at 320 x 448. RoIAlign by average is linear in the
features, so its gradient is a sparse matrix times the incoming gradient; written as an embedding bag with one bag a
cell, that runs over whole channel vectors and on all cores, and always sums in the same order.

Letters: B images, N boxes, C channels, H W cells of the map, P pooled side, S samples a bin and axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from maskline_train.model.roi.modes import Pooled, adaptive_groups, quantised
from maskline_train.spec import RoIAlignSpec


def level_gradient(gradient: Pooled, shape: Sequence[int], rois: Tensor, scale: float, spec: RoIAlignSpec) -> Tensor:
    """The gradient of the features of `modes.pool_level`.

    Args:
        gradient: that of the values, and where the greatest were.
        shape: of the features, B, C, H, W.
        rois: [N, 5], what it got, as are the arguments that follow.
        scale: cells a pixel.
        spec: mode and sampling.

    Returns:
        [B, C, H, W], laid out as `gradient_format` says.
    """
    if spec.mode == "pool":
        sides = gradient.values.shape[2:]
        found: Tensor = torch.ops.torchvision._roi_pool_backward(
            gradient.values, rois, gradient.greatest, scale, *sides, *shape
        )
        return found
    if spec.mode == "align_max":
        return _max_gradient(gradient, shape, rois, scale, spec)
    if spec.mode == "warp":
        rois = quantised(rois, scale)
    return average_gradient(gradient.values, shape, rois, scale, spec.sampling_ratio, spec.aligned)


def gradient_format(device: torch.device, spec: RoIAlignSpec) -> torch.memory_format:
    """The layout of `level_gradient`'s result: that of the operator that computes it."""
    by_bags = _by_bags(device, spec.sampling_ratio) and spec.mode != "pool"
    return torch.channels_last if by_bags else torch.contiguous_format


def _by_bags(device: torch.device, sampling_ratio: int) -> bool:
    """Whether an average's gradient is an embedding bag: with adaptive sampling, bins read different numbers."""
    return device.type == "cpu" and sampling_ratio > 0


def average_gradient(
    gradient: Tensor, shape: Sequence[int], rois: Tensor, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """The gradient of the features [B, C, H, W] of torchvision's `roi_align`; see `level_gradient`."""
    side = gradient.shape[2]
    if not _by_bags(gradient.device, sampling_ratio):
        found: Tensor = torch.ops.torchvision._roi_align_backward(
            gradient, rois, scale, side, side, *shape, sampling_ratio, aligned
        )
        return found
    batch, channels, height, width = shape
    if len(rois) == 0:
        return gradient.new_zeros((batch, height, width, channels)).permute(0, 3, 1, 2)
    cells, weights = _bin_cells(rois, (height, width), side, scale, sampling_ratio, aligned)  # [N * P * P, k]
    sorted_cells, order = cells.flatten().sort()
    first = torch.searchsorted(sorted_cells, torch.arange(batch * height * width, device=rois.device))
    per_bin = gradient.permute(0, 2, 3, 1).reshape(-1, channels)  # [N * P * P, C]
    per_cell = functional.embedding_bag(
        order // cells.shape[1],
        per_bin,
        first,
        mode="sum",
        per_sample_weights=weights.flatten()[order].to(per_bin.dtype),
    )
    return per_cell.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _max_gradient(gradient: Pooled, shape: Sequence[int], rois: Tensor, scale: float, spec: RoIAlignSpec) -> Tensor:
    """Of RoIAlign by maximum: to the greatest sampling point of each bin, and from there to the cells around it."""
    side, ratio = gradient.values.shape[2], spec.sampling_ratio
    if ratio > 0:
        points = _to_greatest(gradient, (ratio, ratio))
        return average_gradient(points, shape, rois, scale, 1, spec.aligned)
    assert gradient.greatest is not None
    total = gradient.values.new_zeros(tuple(shape))
    for count, rows in reversed(adaptive_groups(rois, side, scale, spec.aligned)):
        points = _to_greatest(
            Pooled(*(part.index_select(0, rows) for part in (gradient.values, gradient.greatest))), count
        )
        sides = points.shape[2:]
        total += torch.ops.torchvision._roi_align_backward(points, rois[rows], scale, *sides, *shape, 1, spec.aligned)
    return total


def _to_greatest(gradient: Pooled, window: tuple[int, int]) -> Tensor:
    """The gradient of sampling points of which the greatest of each window was taken."""
    sides = (side * number for side, number in zip(gradient.values.shape[2:], window, strict=True))
    points = gradient.values.new_empty((*gradient.values.shape[:2], *sides))  # of which only the shape is looked at
    found: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        gradient.values, points, window, window, (0, 0), (1, 1), False, gradient.greatest
    )
    return found


def _bin_cells(
    rois: Tensor, size: tuple[int, int], pooled_side: int, scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """The cells that each bin reads, and with which weights.

    Returns:
        Cell indices into the flattened [B * H * W] map, int64 [N * P * P, 4 * S * S], and as many weights.
    """
    args = (pooled_side, scale, sampling_ratio, aligned)
    columns, column_weights = _axis_cells(rois[:, 1], rois[:, 3], size[1], *args)  # [N, P, 2S]
    rows, row_weights = _axis_cells(rois[:, 2], rois[:, 4], size[0], *args)
    first_row = (rois[:, 0].to(torch.int64) * size[0])[:, None, None] + rows
    cells = first_row[:, :, None, :, None] * size[1] + columns[:, None, :, None, :]  # [N, P, P, 2S, 2S]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    per_bin = (len(rois) * pooled_side**2, (2 * sampling_ratio) ** 2)
    return cells.reshape(per_bin), weights.reshape(per_bin)


def _axis_cells(
    low: Tensor, high: Tensor, num_cells: int, pooled_side: int, scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, Tensor]:
    """One axis of `_bin_cells`: the two neighbours of each of the S samples of each bin.

    The rule at the border is RoIAlign's: samples more than one cell outside count as zero, others are moved inside.

    Returns:
        Cells, int64 [N, P, 2S], and their weights.
    """
    start = low * scale - (0.5 if aligned else 0.0)
    length = (high - low) * scale
    if not aligned:
        length = length.clamp(min=1.0)  # the legacy rule: at least one cell
    num_samples = pooled_side * sampling_ratio
    steps = (torch.arange(num_samples, dtype=low.dtype, device=low.device) + 0.5) / num_samples
    positions = start[:, None] + length[:, None] * steps  # [N, P * S]
    counts = ((positions >= -1.0) & (positions <= num_cells)).to(low.dtype) / sampling_ratio
    positions = positions.clamp(0.0, num_cells - 1.0)
    below = positions.floor()
    fraction = positions - below
    cells = torch.stack([below, (below + 1).clamp(max=num_cells - 1.0)], dim=2).to(torch.int64)
    weights = torch.stack([(1 - fraction) * counts, fraction * counts], dim=2)
    per_bin = (len(low), pooled_side, 2 * sampling_ratio)
    return cells.reshape(per_bin), weights.reshape(per_bin)
