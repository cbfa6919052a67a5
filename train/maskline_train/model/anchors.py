"""Anchors of the region proposal network: one size a level, a few aspect ratios, on every cell of the level.

Letters: A anchors a cell, Hi Wi cells of level i.
Ref: paper 3.1, "anchors span 5 scales and 3 aspect ratios, following" the FPN paper.
"""

from __future__ import annotations

import torch
from torch import Tensor

from maskline_train.spec import AnchorSpec


def cell_anchors(size_px: float, spec: AnchorSpec, device: torch.device | None = None) -> Tensor:
    """Anchors of one size around the origin.

    Args:
        size_px: square root of the area of each anchor.
        spec: aspect ratios (height / width) and whether corners are rounded to whole pixels.
        device: where the result lives.

    Returns:
        [A, 4] float32 xyxy offsets in pixels, in the order of `spec.aspect_ratios`.
    """
    ratios = torch.tensor(spec.aspect_ratios, dtype=torch.float32, device=device)
    heights = ratios.sqrt() * size_px
    widths = (1.0 / ratios.sqrt()) * size_px
    offsets = torch.stack([-widths, -heights, widths, heights], dim=1) / 2
    return offsets.round() if spec.rounded else offsets


def level_anchors(
    size: tuple[int, int], stride: int, size_px: float, spec: AnchorSpec, device: torch.device | None = None
) -> Tensor:
    """All anchors of one level.

    Args:
        size: (Hi, Wi), cells of the level.
        stride: canvas pixels a cell.
        size_px: the anchor size of this level.
        spec: ratios, rounding, and the centre offset in strides.
        device: where the result lives.

    Returns:
        [Hi * Wi * A, 4] float32 xyxy canvas px, flattened in the order (y, x, a); not clipped.
    """
    height, width = size
    xs = (torch.arange(width, device=device, dtype=torch.float32) + spec.centre_offset) * stride
    ys = (torch.arange(height, device=device, dtype=torch.float32) + spec.centre_offset) * stride
    centre_y, centre_x = torch.meshgrid(ys, xs, indexing="ij")
    centres = torch.stack([centre_x, centre_y, centre_x, centre_y], dim=-1)  # [Hi, Wi, 4]
    return (centres[:, :, None] + cell_anchors(size_px, spec, device)).reshape(-1, 4)
