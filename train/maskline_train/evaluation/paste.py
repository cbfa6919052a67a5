"""From the M x M mask of a box to pixels of the original image and to COCO's run-length encoding.

The paste rule is that of docs/architecture.md, "Masks at the original size", with the constants that server and plugin
have (`tests/contract/test_paste_rule.py`).

Letters: D objects, M mask side, H W original image.
Ref: paper 3.1, "The m x m floating-number mask output is then resized to the RoI size, and binarized at a threshold of
0.5".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

# The rule says ">= 0.5"; the little less keeps a value that is 0.5 but for rounding (errors near 1e-13) on the inner
# side. The largest float32 below 0.5 is 2^-25 less, so no cell lies between the two.
THRESH = 0.5 - 2.0**-28
_EDGE_PX = 1e-7  # the same for a pixel centre that lies on the edge of a box
_VALUES_A_BLOCK = 1 << 20  # 8 MB of float64, whatever the size of the object


class Rle(TypedDict):
    """COCO's compressed run-length encoding: column-major counts, `size` = [H, W]."""

    size: list[int]
    counts: bytes


def encode_masks(
    masks: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], size: tuple[int, int]
) -> Iterator[Rle]:
    """Paste and encode objects one at a time, so that memory does not grow with their number.

    Args:
        masks: [D, M, M] probabilities, clipped to 0..1; NaN is 0.
        boxes: [D, 4] xyxy, continuous pixels of the original image.
        size: (H, W) of the original image.

    Yields:
        One RLE an object, in order; an object outside the image has an empty one.
    """
    pixels = np.zeros(size, np.uint8, order="F")  # the order that COCO's encoder reads
    for mask, box in zip(masks, boxes, strict=True):
        region = paste_into(pixels, mask, box.tolist())
        yield coco_mask.encode(pixels)
        pixels[region] = 0


def paste_mask(mask: npt.NDArray[np.float32], box: Sequence[float], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of one object.

    Args:
        mask: [M, M] probabilities, clipped to 0..1; NaN is 0.
        box: xyxy, continuous pixels of the original image; may leave it.
        size: (H, W) of the original image.

    Returns:
        [H, W] bool; all False for a box without area.
    """
    pixels = np.zeros(size, np.uint8, order="F")
    paste_into(pixels, mask, box)
    return pixels.astype(bool)


def paste_into(
    pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.float32], box: Sequence[float]
) -> tuple[slice, slice]:
    """Set the pixels of one object to 1 (and those around it within its box to 0), in place.

    Returns:
        The rows and columns that were written.
    """
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        return slice(0, 0), slice(0, 0)
    side = mask.shape[0]
    rows, (upper, lower), (upper_weight, lower_weight) = _interpolation(y0, y1, side, pixels.shape[0])
    columns, (left, right), (left_weight, right_weight) = _interpolation(x0, x1, side, pixels.shape[1])
    probabilities = np.minimum(np.where(mask > 0, mask, 0), 1)  # NaN is not above 0
    cells = np.pad(probabilities.astype(np.float64), 1)  # the zeros outside the grid
    by_row = upper_weight[:, None] * cells[upper] + lower_weight[:, None] * cells[lower]  # [rows, M + 2]
    step = max(1, _VALUES_A_BLOCK // max(1, len(upper)))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        values = by_row[:, left[part]] * left_weight[part] + by_row[:, right[part]] * right_weight[part]
        first = columns.start + start
        pixels[rows, first : first + values.shape[1]] = values >= THRESH
    return rows, columns


def _interpolation(
    start: float, end: float, side: int, limit: int
) -> tuple[slice, tuple[npt.NDArray[np.int64], ...], tuple[npt.NDArray[np.float64], ...]]:
    """Which pixels of one axis have their centre in [start, end], and between which cells each lies.

    A pixel whose centre lies outside the box interpolates to less than one half, so no others can be set.

    Returns:
        The pixels; the two neighbouring cells of each as indices into the padded mask; and their weights.
    """
    first = min(limit, max(0, int(np.ceil(start - 0.5 - _EDGE_PX))))
    last = max(first, min(limit, int(np.floor(end - 0.5 + _EDGE_PX)) + 1))
    positions = (np.arange(first, last) + 0.5 - start) / (end - start) * side - 0.5
    # Beyond the padding all is zero; a box of less than _EDGE_PX may have centres there.
    positions = positions.clip(-1.0, side)
    below = np.floor(positions)
    weight = positions - below
    cells = below.astype(np.int64) + 1  # 0 is the padding before the first cell
    return slice(first, last), (cells, np.minimum(cells + 1, side + 1)), (1.0 - weight, weight)
