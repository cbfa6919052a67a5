"""The anchors of a cell in Detectron and maskrcnn-benchmark: boxes of first and last pixels, by ratio, then size.

Letters: A anchors a cell.
Ref: detectron/modeling/generate_anchors.py; maskrcnn_benchmark/modeling/rpn/anchor_generator.py is the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskline_train.spec.proposals import Cell


def generated(stride: float, sizes: Sequence[float], ratios: Sequence[float]) -> tuple[Cell, ...]:
    """The anchors of a cell, by ratio, then size.

    A square of the stride's side gets each ratio, its sides rounded to whole pixels, and is then enlarged.

    Args:
        stride: of the level, px.
        sizes: roots of areas, px.
        ratios: height / width.

    Returns:
        A times x0 y0 x1 y1 px from the cell's upper left corner, x1 and y1 being the last pixels.
    """
    centre = (stride - 1) / 2
    cells = []
    for ratio in ratios:
        width = np.round(np.sqrt(stride * stride / ratio))
        height = np.round(width * ratio)
        for size in sizes:
            across, down = (size / stride * side - 1 for side in (width, height))
            edges = (centre - across / 2, centre - down / 2, centre + across / 2, centre + down / 2)
            cells.append(tuple(map(float, edges)))
    return tuple(cells)  # type: ignore[arg-type]


def by_size(num_sizes: int, num_ratios: int) -> list[int]:
    """[A] where each anchor of our order, by size, then ratio, is in theirs."""
    return [ratio * num_sizes + size for size in range(num_sizes) for ratio in range(num_ratios)]
