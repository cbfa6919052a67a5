"""Anchors of the region proposal network, and its outputs in their order.

One or more sizes a level, a few aspect ratios, on every cell of the level.

Letters: B images, L levels, A anchors a cell, Hi Wi cells of level i.
Ref: paper 3.1, "anchors span 5 scales and 3 aspect ratios, following" the FPN paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskline_train.spec import FIRST_LEVEL, AnchorSpec


def cell_anchors(sizes_px: Sequence[float], spec: AnchorSpec, device: torch.device | None = None) -> Tensor:
    """Anchors of a cell around the origin.

    Args:
        sizes_px: square roots of the anchors' areas.
        spec: aspect ratios (height / width) and whether corners are rounded to whole pixels.
        device: where the result lives.

    Returns:
        [A, 4] float32 xyxy offsets in pixels, by size, then in the order of `spec.aspect_ratios`.
    """
    ratios = torch.tensor(spec.aspect_ratios, dtype=torch.float32, device=device)
    sizes = torch.tensor(sizes_px, dtype=torch.float32, device=device)[:, None]
    heights = (ratios.sqrt() * sizes).flatten()
    widths = ((1.0 / ratios.sqrt()) * sizes).flatten()
    offsets = torch.stack([-widths, -heights, widths, heights], dim=1) / 2
    return offsets.round() if spec.rounded else offsets


def level_anchors(
    size: tuple[int, int],
    strides: tuple[int, int],
    sizes_px: Sequence[float],
    spec: AnchorSpec,
    device: torch.device | None = None,
) -> Tensor:
    """All anchors of one level.

    Args:
        size: (Hi, Wi), cells of the level.
        strides: canvas pixels a cell, down and across.
        sizes_px: the anchor sizes of this level.
        spec: ratios, rounding, and the centre offset in strides.
        device: where the result lives.

    Returns:
        [Hi * Wi * A, 4] float32 xyxy canvas px, flattened in the order (y, x, a); not clipped.
    """
    height, width = size
    xs = (torch.arange(width, device=device, dtype=torch.float32) + spec.centre_offset) * strides[1]
    ys = (torch.arange(height, device=device, dtype=torch.float32) + spec.centre_offset) * strides[0]
    centre_y, centre_x = torch.meshgrid(ys, xs, indexing="ij")
    centres = torch.stack([centre_x, centre_y, centre_x, centre_y], dim=-1)  # [Hi, Wi, 4]
    return (centres[:, :, None] + cell_anchors(sizes_px, spec, device)).reshape(-1, 4)


def flatten_logits(logits: Tensor) -> Tensor:
    """[B, A, Hi, Wi] to [B, Hi * Wi * A] in the anchors' order (y, x, a)."""
    return logits.permute(0, 2, 3, 1).flatten(1)


def flatten_deltas(deltas: Tensor) -> Tensor:
    """[B, 4A, Hi, Wi] to [B, Hi * Wi * A, 4] in the anchors' order (y, x, a)."""
    batch, channels, height, width = deltas.shape
    return deltas.permute(0, 2, 3, 1).reshape(batch, height * width * (channels // 4), 4)


def pyramid_anchors(logits: Sequence[Tensor], spec: AnchorSpec, first_level: int = FIRST_LEVEL) -> list[Tensor]:
    """Anchors [Hi * Wi * A, 4] of each level, float32 xyxy canvas px, for L logits [B, A, Hi, Wi], finest first."""
    anchors = []
    for index, (level, strides) in enumerate(zip(logits, level_strides(logits, spec, first_level), strict=True)):
        of_level = spec.sizes_of_level(index, len(logits))
        anchors.append(level_anchors((level.shape[2], level.shape[3]), strides, of_level, spec, level.device))
    return anchors


def level_strides(logits: Sequence[Tensor], spec: AnchorSpec, first_level: int = FIRST_LEVEL) -> list[tuple[int, int]]:
    """Canvas pixels between the anchors of each level, down and across."""
    if not spec.stride_of_cells:
        return [(2 ** (first_level + index),) * 2 for index in range(len(logits))]
    height, width = (cells << first_level for cells in logits[0].shape[2:])  # the finest stride divides every canvas
    return [(height // level.shape[2], width // level.shape[3]) for level in logits]
