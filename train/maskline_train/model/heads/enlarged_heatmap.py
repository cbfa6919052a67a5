"""The best pixel of heatmaps that are enlarged bicubically to their boxes, without enlarging them.

An enlarged heatmap has as many pixels as its box, up to a million. Between four neighbouring cell centres, on a patch,
it is a polynomial of degree three along either axis, which nowhere exceeds the greatest of its 16 Bézier points. So the
patches are ordered by this bound, taken over just the span of their pixels, and only the best few are enlarged. Shapes
depend on the number of heatmaps and the longest box alone, so that this is what is exported, too.

The answer is exact where no more than `PATCHES` patches have a bound above the best pixel. Of 5400 sharp, broad and
many-peaked maps in boxes of 0 to 1000 px none had more than 5; one of 2340 of white noise, which is not what a head
upsamples, had 10 or more, and plateaus of equal cells have up to 21.

Letters: N boxes, J keypoints, S heatmap side, Q pixels of a patch along an axis.
Ref: detectron2/structures/keypoints.py and torchvision's roi_heads.py, `heatmaps_to_keypoints`; R. Keys, Cubic
convolution interpolation, 1981, with PyTorch's a = -0.75; G. Farin, Curves and Surfaces, for Bézier points by blossoms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

PATCHES = 16  # that are enlarged
_A = -0.75
# From the four cells around a span to the Bézier points of the cubic over it: the inner cells, and a third of the slope
# -a * (next - before) away from either.
_TO_BEZIER = ((0.0, 1.0, 0.0, 0.0), (_A / 3, 1.0, -_A / 3, 0.0), (0.0, -_A / 3, 1.0, _A / 3), (0.0, 0.0, 1.0, 0.0))


class _Axis(NamedTuple):
    """The pixels of enlarged heatmaps along one axis; patch p of 0..S lies between cells p - 1 and p.

    Attributes:
        pixels: [N] float32, how many there are.
        first, end: [N, S + 1] float32, which of them lie in each patch: first up to, without, end.
    """

    pixels: Tensor
    first: Tensor
    end: Tensor


def best_enlarged(heatmaps: Tensor, boxes: Tensor, longest_px: int) -> tuple[Tensor, Tensor]:
    """Where each heatmap is greatest when it is enlarged to `ceil(width)` by `ceil(height)` pixels of its box.

    Args:
        heatmaps: [N, J, S, S] float32.
        boxes: [N, 4] xyxy px; sides below 1 px count as 1.
        longest_px: no box is longer; of a longer one only some pixels are looked at.

    Returns:
        [N, J, 2] float32, x and y of the best pixel's centre in the units of the boxes; and its value [N, J]. Of equal
        pixels any.
    """
    side = heatmaps.shape[3]
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    pixels = sizes.ceil()
    across, down = (_axis(pixels[:, axis], side) for axis in (0, 1))
    patches = _bounds(heatmaps, down, across).flatten(2).topk(PATCHES, dim=2).indices
    reach = math.ceil(longest_px / side) + 1
    best, x, y = _best_pixel(heatmaps, patches, down, across, reach)
    places = torch.stack([x, y], dim=2) + 0.5
    return boxes[:, None, :2] + places * (sizes / pixels)[:, None], best


def _axis(pixels: Tensor, side: int) -> _Axis:
    edges = torch.arange(side + 2, dtype=torch.float32, device=pixels.device) - 0.5  # of the patches, in cells
    starts = torch.ceil(edges * (pixels[:, None] / side) - 0.5).clamp(min=0)
    starts = torch.minimum(starts, pixels[:, None])
    return _Axis(pixels, starts[:, :-1], starts[:, 1:])


def _place(pixel: Tensor, pixels: Tensor, side: int) -> Tensor:
    """Where the centre of a pixel lies, in cells from the centre of cell 0, by PyTorch's arithmetic."""
    return (side / pixels) * (pixel + 0.5) - 0.5


def _bounds(heatmaps: Tensor, down: _Axis, across: _Axis) -> Tensor:
    """[N, J, S + 1, S + 1]: no pixel of a patch has a greater value; -inf for patches without a pixel."""
    rows = _bezier(down, heatmaps.shape[2]).flatten(1, 2)[:, None] @ heatmaps  # [N, J, 4 * (S + 1), S]
    columns = _bezier(across, heatmaps.shape[3])  # [N, 4, S + 1, S]
    greatest = _greatest_row(rows @ columns[:, 0].transpose(1, 2)[:, None])
    for number in range(1, 4):
        points = (
            rows @ columns[:, number].transpose(1, 2)[:, None]
        )  # one of four at a time: all take 350 MB of 100 boxes
        greatest = torch.maximum(greatest, _greatest_row(points))
    empty = (down.first >= down.end)[:, None, :, None] | (across.first >= across.end)[:, None, None, :]
    return torch.where(empty, -math.inf, greatest)


def _greatest_row(points: Tensor) -> Tensor:
    """[N, J, S + 1, S + 1] of [N, J, 4 * (S + 1), S + 1]."""
    count, keypoints, _, patches = points.shape
    return points.reshape(count, keypoints, 4, patches, patches).amax(dim=2)


def _bezier(axis: _Axis, side: int) -> Tensor:
    """[N, 4, S + 1, S]: from cells to the Bézier points of each patch's polynomial, first to last pixel."""
    patch = torch.arange(side + 1, dtype=torch.float32, device=axis.pixels.device)
    begin, end = (_place(pixel, axis.pixels[:, None], side) - (patch - 1) for pixel in (axis.first, axis.end - 1))
    blossoms = [_blossom(*ends) for ends in ((begin,) * 3, (begin, begin, end), (begin, end, end), (end,) * 3)]
    of_four = torch.stack(blossoms, dim=1) @ torch.tensor(_TO_BEZIER, device=patch.device)  # [N, 4, S + 1, 4 cells]
    chosen = torch.nn.functional.one_hot(_cells(side, patch.device), side).float()  # [S + 1, 4 cells, S]
    return (of_four[..., None, :] @ chosen)[..., 0, :]


def _blossom(r: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """[..., 4]: the weights of the Bézier points over 0..1 in the polar form at (r, s, t), that is in a new point."""
    left, middle, right = 1 - r, 1 - s, 1 - t
    once = r * middle * right + s * left * right + t * left * middle
    twice = r * s * right + r * t * middle + s * t * left
    return torch.stack([left * middle * right, once, twice, r * s * t], dim=-1)


def _cells(side: int, device: torch.device) -> Tensor:
    """[S + 1, 4] int64: the cells that the pixels of each patch are made of; the edge goes on outside."""
    patch = torch.arange(side + 1, device=device)[:, None]
    return (patch + torch.arange(-2, 2, device=device)).clamp(0, side - 1)


def _best_pixel(
    heatmaps: Tensor, patches: Tensor, down: _Axis, across: _Axis, reach: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best value [N, J] among the pixels of patches [N, J, K], and its x and y, whole pixels."""
    side = heatmaps.shape[3]
    row, column = torch.div(patches, side + 1, rounding_mode="floor"), patches % (side + 1)
    (y, below, of_y), (x, beyond, of_x) = _weights(row, down, side, reach), _weights(column, across, side, reach)
    cells = _cells(side, patches.device)
    taken = cells[row][..., :, None] * side + cells[column][..., None, :]  # [N, J, K, 4, 4]
    block = heatmaps.flatten(2).gather(2, taken.flatten(2)).reshape(taken.shape)
    values = of_y @ block @ of_x.transpose(3, 4)  # [N, J, K, Q, Q]
    outside = below[..., :, None] | beyond[..., None, :]
    best, at = torch.where(outside, -math.inf, values).flatten(2).max(dim=2)
    line = torch.div(at, reach, rounding_mode="floor")  # of K * Q
    at_x = torch.div(line, reach, rounding_mode="floor") * reach + at % reach
    return best, x.flatten(2).gather(2, at_x[..., None])[..., 0], y.flatten(2).gather(2, line[..., None])[..., 0]


def _weights(patches: Tensor, axis: _Axis, side: int, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels [N, J, K, Q] of patches [N, J, K] along an axis.

    Returns:
        Their numbers, float32; whether they lie beyond their patch, bool; the weights of its four cells in each
        [N, J, K, Q, 4].
    """
    first, end = (edge.gather(1, patches.flatten(1)).reshape(patches.shape)[..., None] for edge in axis[1:])
    pixel = first + torch.arange(reach, dtype=torch.float32, device=patches.device)
    t = _place(pixel, axis.pixels[:, None, None, None], side) - (patches[..., None] - 1)
    return pixel, pixel >= end, torch.stack([_outer(t + 1), _inner(t), _inner(1 - t), _outer(2 - t)], dim=-1)


def _inner(x: Tensor) -> Tensor:
    """Weight of a cell up to 1 away."""
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _outer(x: Tensor) -> Tensor:
    """Weight of a cell 1 to 2 away."""
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
