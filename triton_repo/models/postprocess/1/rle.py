"""Masks at the size of the original image, as COCO compressed RLE. Numpy only.

A pasted mask is never made. Down a column of pixels the interpolated mask is a straight line between two rows of mask
cells, so each of these M + 1 stretches crosses the threshold once at most, and the crossings are the ends of the runs:
work and memory grow with (box width) x M, whatever the height.

Letters: D detections an image, M mask side. Boxes xyxy; pixel i covers [i, i+1) and has its centre at i + 0.5.
Ref: docs/architecture.md, "Masks at the original size".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

# One rule says ">= 0.5", the other "> 0.5"; the little less or more keeps a value that is 0.5 but for rounding (errors
# near 1e-13) on the rule's side. float32's next numbers are 2^-25 below and 2^-24 above, so no cell lies between.
_SLACK = 2.0**-28
RULES = {"aligned": 0.5 - _SLACK, "detectron": 0.5 + _SLACK}  # the threshold of each
_EDGE_PX = 1e-7  # the same for a pixel centre that lies on the edge of a box
_STRIP = 1024  # columns worked on at once: x (28 + 1) stretches x 8 bytes is 0.25 MB an array
# A count is below 2**31 pixels; 7 groups of 5 bits hold it, its sign included.
_MAX_GROUPS = 7


def encode_mask(
    mask: npt.NDArray[np.float32], box: Sequence[float], size: tuple[int, int], paste: str = "aligned"
) -> bytes:
    """COCO compressed RLE of one mask pasted into its box: what pycocotools writes, byte for byte.

    Args:
        mask: [M,M] probabilities, clipped to 0..1; NaN is 0.
        box: xyxy, px of the image; without area it gives the empty mask.
        size: (height, width) of the image.
        paste: one of `RULES`.
    """
    starts, ends = mask_runs(mask, box, size, paste)
    return compress_counts(runs_to_counts(starts, ends, size[0] * size[1]))


def mask_runs(
    mask: npt.NDArray[np.float32], box: Sequence[float], size: tuple[int, int], paste: str = "aligned"
) -> tuple[Int, Int]:
    """Pixels of a pasted mask as runs [start, end) of column-major positions (x * height + y), increasing.

    Neighbouring runs may touch.
    """
    height, width = size
    x0, y0, x1, y1 = (float(side) for side in box)
    make_axis = _aligned_axis if paste == "aligned" else _whole_pixel_axis
    rows, columns = make_axis(y0, y1, mask.shape[0], height), make_axis(x0, x1, mask.shape[0], width)
    if not len(rows.pixels) or not len(columns.pixels):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    cells = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2))  # zeros outside the grid
    cells[1:-1, 1:-1] = np.minimum(np.where(mask > 0, mask, 0), 1)  # NaN is not above 0
    row_stretches = _Stretches(rows, mask.shape[0])
    strips = [columns.pixels[i : i + _STRIP] for i in range(0, len(columns.pixels), _STRIP)]
    found = [
        _strip_runs(cells, row_stretches, columns._replace(pixels=strip), height, RULES[paste]) for strip in strips
    ]
    return np.concatenate([starts for starts, _ in found]), np.concatenate([ends for _, ends in found])


def _centres_within(low: float, high: float, limit: int) -> Int:
    """Pixels of 0..limit-1 whose centre lies in [low, high]; none when the interval has no finite length."""
    if not 0 < high - low < np.inf:  # NaN has no length either
        return np.empty(0, np.int64)
    first, last = max(np.ceil(low - 0.5 - _EDGE_PX), 0), min(np.floor(high - 0.5 + _EDGE_PX), limit - 1)
    if last < first:  # arange would raise for a box that lies too far outside
        return np.empty(0, np.int64)
    return np.arange(first, last + 1, dtype=np.int64)


class _Axis(NamedTuple):
    """One axis of a box: pixel i has its centre at (i + 0.5 - low) * cells / length + offset cells of the padded mask.

    `pixels` are all that may be inside: beyond them no value is above one half.
    """

    pixels: Int
    low: float
    length: float
    cells: int
    offset: float


def _aligned_axis(low: float, high: float, side: int, limit: int) -> _Axis:
    return _Axis(_centres_within(low, high, limit), low, high - low, side, 0.5)


def _whole_pixel_axis(low: float, high: float, side: int, limit: int) -> _Axis:
    """Padded cells in the box, which is made wider by one cell on either side and whole pixels.

    Ref: torchvision, models/detection/roi_heads.py, expand_boxes and paste_mask_in_image, in float32 as there.
    """
    if not (low <= high and np.isfinite(high - low)):
        return _Axis(np.empty(0, np.int64), 0.0, 1.0, 1, 0.0)
    half = (np.float32(high) - np.float32(low)) * np.float32(0.5) * np.float32((side + 2) / side)
    centre = (np.float32(high) + np.float32(low)) * np.float32(0.5)
    first = float(np.trunc(centre - half))
    length = float(np.trunc(centre + half)) - first + 1
    cell = length / (side + 2)
    return _Axis(_centres_within(first + cell, first + length - cell, limit), first, length, side + 2, -0.5)


class _Stretches:
    """The rows of a box, grouped by the two rows of mask cells between which each centre lies.

    Stretch k (0..M) lies between padded cell rows k and k + 1; `first` and `count` say which rows it has, `offset`
    where its first row lies between the two (0..1), `step` how far rows are apart, in cells.
    """

    def __init__(self, axis: _Axis, side: int) -> None:
        rows = axis.pixels
        self.step = axis.cells / axis.length
        position = (rows + 0.5 - axis.low) * self.step + axis.offset  # in padded cell rows, increasing
        bounds = np.searchsorted(position, np.arange(side + 2))
        bounds[0], bounds[-1] = 0, len(rows)  # rounding may put a centre on the box's edge outside it
        self.first = rows[0] + bounds[:-1]
        self.count = np.diff(bounds)
        self.offset = position[np.minimum(bounds[:-1], len(rows) - 1)] - np.arange(side + 1)


def _strip_runs(cells: Float, rows: _Stretches, axis: _Axis, height: int, thresh: float) -> tuple[Int, Int]:
    """Runs of some neighbouring columns; `cells` is [M+2, M+2], the mask with a border of zeros."""
    side, columns = cells.shape[0] - 2, axis.pixels
    position = (columns + 0.5 - axis.low) / axis.length * axis.cells + axis.offset
    left = np.clip(np.floor(position), 0, side).astype(np.int64)
    fraction = (position - left)[:, None]
    profile = cells.T[left] * (1 - fraction) + cells.T[left + 1] * fraction  # [columns, M+2], down each column
    inside = profile >= thresh
    # Both ends of a profile are outside, so crossings of a column go in, out, in, out, ...
    column, stretch = np.nonzero(inside[:, 1:] != inside[:, :-1])
    above, below = profile[column, stretch], profile[column, stretch + 1]
    crossing = ((thresh - above) / (below - above) - rows.offset[stretch]) / rows.step  # in rows from the first one
    origin = columns[column] * height + rows.first[stretch]
    count = rows.count[stretch]
    starts = origin[::2] + np.clip(np.ceil(crossing[::2]), 0, count[::2]).astype(np.int64)
    ends = origin[1::2] + np.clip(np.floor(crossing[1::2]) + 1, 0, count[1::2]).astype(np.int64)
    keep = ends > starts  # a run between two centres has no pixel
    return starts[keep], ends[keep]


def runs_to_counts(starts: Int, ends: Int, num_pixels: int) -> Int:
    """COCO's alternating counts of runs, zeros first; touching runs are joined, an empty last count is left out."""
    joined = np.concatenate([[True], starts[1:] != ends[:-1], [True]]) if len(starts) else np.array([], bool)
    starts, ends = starts[joined[:-1]], ends[joined[1:]]
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [num_pixels]])
    counts = np.diff(edges).astype(np.int64)
    return counts[:-1] if len(starts) and counts[-1] == 0 else counts


def compress_counts(counts: Int) -> bytes:
    """COCO's text form of counts: from the fourth on the difference to the count two before, 5 bits a character.

    Ref: https://github.com/cocodataset/cocoapi, common/maskApi.c, rleToString.
    """
    values = counts.copy()
    values[3:] -= counts[1:-2]
    groups = np.arange(_MAX_GROUPS)
    digits = values[:, None] >> (5 * groups)  # arithmetic shift: the sign stays
    # A character is the last one when what follows is only the sign of its own fifth bit.
    rest = digits >> 5
    is_last = rest == -((digits >> 4) & 1)
    length = np.argmax(is_last, axis=1)
    characters = (digits & 31) + 48 + 32 * (groups < length[:, None])
    return bytes(characters[groups <= length[:, None]].astype(np.uint8))
