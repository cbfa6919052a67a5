"""From the M x M mask of a box to pixels of the original image and to COCO's run-length encoding.

The paste rule is that of docs/architecture.md, "Masks at the original size", with the constants that server and plugin
have (`tests/contract/test_paste_rule.py`).

Letters: D objects, M mask side, H W original image.
Ref: paper 3.1, "The m x m floating-number mask output is then resized to the RoI size, and binarized at a threshold of
0.5".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from maskline_train.spec import PasteRule

# One rule says ">= 0.5", the other "> 0.5"; the little less or more keeps a value that is 0.5 but for rounding (errors
# near 1e-13) on the rule's side. float32's next numbers are 2^-25 below and 2^-24 above, so no cell lies between.
_SLACK = 2.0**-28
THRESH: dict[PasteRule, float] = {"aligned": 0.5 - _SLACK, "detectron": 0.5 + _SLACK}
_EDGE_PX = 1e-7  # the same for a pixel centre that lies on the edge of a box
_VALUES_A_BLOCK = 1 << 20  # 8 MB of float64, whatever the size of the object


class Rle(TypedDict):
    """COCO's compressed run-length encoding: column-major counts, `size` = [H, W]."""

    size: list[int]
    counts: bytes


def encode_masks(
    masks: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    size: tuple[int, int],
    rule: PasteRule = "aligned",
) -> Iterator[Rle]:
    """Paste and encode objects one at a time, so that memory does not grow with their number.

    Args:
        masks: [D, M, M] probabilities, clipped to 0..1; NaN is 0.
        boxes: [D, 4] xyxy, continuous pixels of the original image.
        size: (H, W) of the original image.
        rule: how masks become pixels, `MaskHeadSpec.paste`.

    Yields:
        One RLE an object, in order; an object outside the image has an empty one.
    """
    pixels = np.zeros(size, np.uint8, order="F")  # the order that COCO's encoder reads
    for mask, box in zip(masks, boxes, strict=True):
        region = paste_into(pixels, mask, box.tolist(), rule)
        yield coco_mask.encode(pixels)
        pixels[region] = 0


def paste_mask(
    mask: npt.NDArray[np.float32], box: Sequence[float], size: tuple[int, int], rule: PasteRule = "aligned"
) -> npt.NDArray[np.bool_]:
    """The pixels of one object.

    Args:
        mask: [M, M] probabilities, clipped to 0..1; NaN is 0.
        box: xyxy, continuous pixels of the original image; may leave it.
        size: (H, W) of the original image.
        rule: how masks become pixels, `MaskHeadSpec.paste`.

    Returns:
        [H, W] bool; all False for a box without area.
    """
    pixels = np.zeros(size, np.uint8, order="F")
    paste_into(pixels, mask, box, rule)
    return pixels.astype(bool)


def paste_into(
    pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.float32], box: Sequence[float], rule: PasteRule
) -> tuple[slice, slice]:
    """Set the pixels of one object to 1 (and those around it within its box to 0), in place.

    Returns:
        The rows and columns that were written.
    """
    side = mask.shape[0]
    axes = [_axis(low, high, side, rule) for low, high in ((box[1], box[3]), (box[0], box[2]))]
    if not all(0 < axis.length < np.inf for axis in axes):  # NaN is not either
        return slice(0, 0), slice(0, 0)
    rows, (upper, lower), (upper_weight, lower_weight) = _interpolation(axes[0], side, pixels.shape[0])
    columns, (left, right), (left_weight, right_weight) = _interpolation(axes[1], side, pixels.shape[1])
    probabilities = np.minimum(np.where(mask > 0, mask, 0), 1)  # NaN is not above 0
    cells = np.pad(probabilities.astype(np.float64), 1)  # the zeros outside the grid
    by_row = upper_weight[:, None] * cells[upper] + lower_weight[:, None] * cells[lower]  # [rows, M + 2]
    step = max(1, _VALUES_A_BLOCK // max(1, len(upper)))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        values = by_row[:, left[part]] * left_weight[part] + by_row[:, right[part]] * right_weight[part]
        first = columns.start + start
        pixels[rows, first : first + values.shape[1]] = values >= THRESH[rule]
    return rows, columns


class _Axis(NamedTuple):
    """One axis of a box: pixel i has its centre at (i + 0.5 - low) / length * cells + offset cells of the mask."""

    low: float
    length: float
    cells: int
    offset: float


def _axis(start: float, end: float, side: int, rule: PasteRule) -> _Axis:
    """The axis of a box from `start` to `end`, of which only one with a length has pixels."""
    if rule == "aligned" or not start <= end:
        return _Axis(start, end - start, side, -0.5)
    # Operation by operation as torchvision's expand_boxes, in float32 as there.
    half = (np.float32(end) - np.float32(start)) * np.float32(0.5) * np.float32((side + 2) / side)
    centre = (np.float32(end) + np.float32(start)) * np.float32(0.5)
    first, last = (float(np.trunc(corner)) for corner in (centre - half, centre + half))
    return _Axis(first, last - first + 1, side + 2, -1.5)  # a cell of padding lies before the mask's first


def _interpolation(
    axis: _Axis, side: int, limit: int
) -> tuple[slice, tuple[npt.NDArray[np.int64], ...], tuple[npt.NDArray[np.float64], ...]]:
    """Which pixels of one axis have their centre in the box, and between which cells each lies.

    A pixel whose centre lies outside the box interpolates to one half at most, so no others can be set.

    Returns:
        The pixels; the two neighbouring cells of each as indices into the padded mask; and their weights.
    """
    first = min(limit, max(0, int(np.ceil(axis.low - 0.5 - _EDGE_PX))))
    last = max(first, min(limit, int(np.floor(axis.low + axis.length - 0.5 + _EDGE_PX)) + 1))
    positions = (np.arange(first, last) + 0.5 - axis.low) / axis.length * axis.cells + axis.offset
    # Beyond the padding all is zero; a box of less than _EDGE_PX may have centres there.
    positions = positions.clip(-1.0, side)
    below = np.floor(positions)
    weight = positions - below
    cells = below.astype(np.int64) + 1  # 0 is the padding before the first cell
    return slice(first, last), (cells, np.minimum(cells + 1, side + 1)), (1.0 - weight, weight)
