"""Anchors of the region proposal network, and its outputs in their order.

One or more sizes a level, a few aspect ratios, on every cell of the level.

Letters: B images, L levels, A anchors a cell, Hi Wi cells of level i.
Ref: paper 3.1, "anchors span 5 scales and 3 aspect ratios, following" the FPN paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from maskline_train.spec import FIRST_LEVEL, AnchorSpec


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def cell_offsets(
    sizes_px: Sequence[float], aspect_ratios: Sequence[float], rounded: bool
) -> tuple[tuple[float, ...], ...]:
    """Anchors of a cell around the origin; plain numbers in and out, which torch's compiler takes as given.

    Args:
        sizes_px: square roots of the anchors' areas.
        aspect_ratios: height / width.
        rounded: corners to whole pixels.

    Returns:
        A times float32 xyxy offsets in pixels, by size, then in the order of `aspect_ratios`.
    """
    ratios, sizes = np.sqrt(np.array(aspect_ratios, np.float32)), np.array(sizes_px, np.float32)[:, None]
    heights, widths = (ratios * sizes).ravel(), ((np.float32(1) / ratios) * sizes).ravel()
    offsets = np.stack([-widths, -heights, widths, heights], axis=1) / np.float32(2)
    return tuple(map(tuple, (offsets.round() if rounded else offsets).tolist()))


def cell_anchors(sizes_px: Sequence[float], spec: AnchorSpec) -> Tensor:
    """`cell_offsets` of a spec as an array on the host, [A, 4] float32."""
    return torch.tensor(cell_offsets(sizes_px, spec.aspect_ratios, spec.rounded))


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
    offsets = cell_offsets(sizes_px, spec.aspect_ratios, spec.rounded)
    return _spread(offsets, size, strides, spec.centre_offset, device)


def _spread(
    offsets: Sequence[Sequence[float]],
    size: tuple[int, int],
    strides: tuple[int, int],
    centre_offset: float,
    device: torch.device | None,
) -> Tensor:
    """The anchors of a cell, A times xyxy px around its anchors' centre, at every cell: `level_anchors`."""
    height, width = size
    xs = (torch.arange(width, device=device, dtype=torch.float32) + centre_offset) * strides[1]
    ys = (torch.arange(height, device=device, dtype=torch.float32) + centre_offset) * strides[0]
    # Numbers are added one at a time: an array of them would be a copy from the host, for which a GPU is waited for.
    edges = []
    for centres, edge in ((xs, 0), (ys, 1), (xs, 2), (ys, 3)):
        moved = torch.stack([centres + offset[edge] for offset in offsets], dim=1)  # [Wi or Hi, A]
        edges.append((moved[None] if centres is xs else moved[:, None]).expand(height, width, -1))
    return torch.stack(edges, dim=-1).reshape(-1, 4)


def flatten_logits(logits: Tensor) -> Tensor:
    """[B, A, Hi, Wi] to [B, Hi * Wi * A] in the anchors' order (y, x, a)."""
    return logits.permute(0, 2, 3, 1).flatten(1)


def flatten_deltas(deltas: Tensor) -> Tensor:
    """[B, 4A, Hi, Wi] to [B, Hi * Wi * A, 4] in the anchors' order (y, x, a)."""
    batch, channels, height, width = deltas.shape
    return deltas.permute(0, 2, 3, 1).reshape(batch, height * width * (channels // 4), 4)


def pyramid_anchors(logits: Sequence[Tensor], spec: AnchorSpec, first_level: int = FIRST_LEVEL) -> list[Tensor]:
    """Anchors [Hi * Wi * A, 4] of each level, float32 xyxy canvas px, for L logits [B, A, Hi, Wi], finest first.

    Listed anchors (`cells_px`) are given as their edges, one pixel beyond the last ones.
    """
    anchors = []
    for index, (level, strides) in enumerate(zip(logits, level_strides(logits, spec, first_level), strict=True)):
        size = (level.shape[2], level.shape[3])
        if spec.cells_px is not None:
            edges = [(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in spec.cells_px[index]]
            anchors.append(_spread(edges, size, strides, 0.0, level.device))
        else:
            of_level = spec.sizes_of_level(index, len(logits))
            anchors.append(level_anchors(size, strides, of_level, spec, level.device))
    return anchors


def level_strides(logits: Sequence[Tensor], spec: AnchorSpec, first_level: int = FIRST_LEVEL) -> list[tuple[int, int]]:
    """Canvas pixels between the anchors of each level, down and across."""
    if not spec.stride_of_cells:
        return [(2 ** (first_level + index),) * 2 for index in range(len(logits))]
    height, width = (cells << first_level for cells in logits[0].shape[2:])  # the finest stride divides every canvas
    return [(height // level.shape[2], width // level.shape[3]) for level in logits]
