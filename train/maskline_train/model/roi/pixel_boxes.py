"""Where features of boxes of first and last pixels are read: the level by the edges, the samples by the corners.

The sources choose a box's level by its sides with "+ 1", and hand its corners to a RoIAlign that knows no "+ 1". The op
MultiscaleRoIAlign has one box for both, so each level is read by itself, at the boxes that belong to it.

Letters: N boxes, L levels.
Ref: maskrcnn_benchmark's modeling/poolers.py (`LevelMapper`) and csrc/cpu/ROIAlign_cpu.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maskline_train.model import boxes as box_ops
from maskline_train.spec import RoIAlignSpec

# A box of one pixel has corners without a side, for which the op gives zeros; RoIAlign without the half-pixel shift
# reads a cell at least, which this width is far below: the same cell.
_LEAST_PX = 2.0**-6
_EPSILON = 1e-6  # in the rule for the level, as in `MultiscaleRoIAlign`


def boxes_by_level(edges: Tensor, levels: Sequence[int], spec: RoIAlignSpec) -> list[Tensor]:
    """The boxes that are read from each level, by their corners.

    Args:
        edges: [..., 4] float32 canvas px; without area in rows of padding.
        levels: the number of each level, L, finest first.
        spec: level assignment.

    Returns:
        L tensors [..., 4], zero where a box belongs to another level. Those of a coarser level are divided by how much
        larger its stride is: read from it as if it were the finest, so that all levels are read by the same op.
    """
    area = box_ops.areas(edges)
    size = area.clamp(min=0.0).sqrt() / spec.canonical_size_px + _EPSILON
    # floor(canonical_level + log2(size)) is at least k where size >= 2^(k - canonical_level): no logarithm is rounded.
    above = [size >= 2.0 ** (level - spec.canonical_level) for level in levels[1:]]
    ends = torch.maximum(edges[..., 2:] - 1.0, edges[..., :2] + _LEAST_PX)
    corners = torch.cat([edges[..., :2], ends], dim=-1)
    found = []
    for index, level in enumerate(levels):
        here = area > 0
        if index > 0:
            here = here & above[index - 1]
        if index < len(above):
            here = here & ~above[index]
        scaled = corners * 2.0 ** (levels[0] - level)  # exact: a power of two
        found.append(torch.where(here[..., None], scaled, torch.zeros_like(scaled)))
    return found
