"""COCO segmentations (polygons, plain and compressed RLE): checked, then turned into pixels by pycocotools."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

Segmentation = list[list[float]] | dict[str, Any]


def parse_segmentation(value: Any, height: int, width: int) -> tuple[Segmentation, str]:
    """Check the `segmentation` of an annotation: (what `rasterise` takes, why it cannot be trained on or "").

    Polygons of less than three points are left out; nothing left is a reason, not a mistake.

    Raises:
        ValueError: neither polygons nor RLE of this image size; the text says what is wrong.
    """
    if value is None or value == []:
        return [], "without a segmentation"
    if isinstance(value, list):
        polygons = [_check_polygon(polygon) for polygon in value]
        kept = [polygon for polygon in polygons if len(polygon) >= 6]
        return kept, "" if kept else "with polygons of less than 3 points"
    if isinstance(value, dict):
        return _check_rle(value, height, width), ""
    raise ValueError(f"segmentation: got {type(value).__name__}, expected a list of polygons or an RLE object")


def rasterise(segmentation: Segmentation, height: int, width: int) -> npt.NDArray[np.uint8]:
    """[H, W] uint8, 0 or 1; what lies outside the image is cut off; no polygon gives zeros."""
    if isinstance(segmentation, list):
        if not segmentation:
            return np.zeros((height, width), np.uint8)
        return np.asarray(coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))))
    if isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    return np.asarray(coco_mask.decode(segmentation))


def decode_counts(text: str) -> list[int]:
    """The run lengths in a compressed COCO RLE string.

    Each number is in groups of 5 bits, lowest first, in characters from "0" on; bit 6 says that more follows, the
    highest bit of the last group is the sign; from the fourth number on it is the difference to the one two before.

    Ref: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c, rleFrString

    Raises:
        ValueError: a character outside the alphabet, or a string that stops inside a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"segmentation.counts: got the character {character!r}, expected one of '0' to 'o'")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("segmentation.counts: the string stops inside a number; it was cut off")
    return counts


def _check_polygon(polygon: Any) -> list[float]:
    if not isinstance(polygon, list):
        raise ValueError(f"segmentation: got a {type(polygon).__name__} as a polygon, expected [x0, y0, x1, y1, ...]")
    if len(polygon) % 2:
        raise ValueError(f"segmentation: got a polygon of {len(polygon)} numbers, expected pairs of x and y")
    for number in polygon:
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f"segmentation: got {number!r} in a polygon, expected a finite number")
    return polygon


def _check_rle(rle: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Check sizes and run lengths: pycocotools would write past its buffer for runs longer than the image."""
    if rle.get("size") != [height, width]:
        raise ValueError(f"segmentation.size: got {rle.get('size')!r}, expected the image's {[height, width]}")
    counts = rle.get("counts")
    if not isinstance(counts, str | list):
        raise ValueError(f"segmentation.counts: got {type(counts).__name__}, expected a list or a string")
    runs = decode_counts(counts) if isinstance(counts, str) else counts
    if not all(isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in runs):
        raise ValueError("segmentation.counts: got a negative or fractional run, expected whole numbers of pixels")
    if sum(runs) != height * width:
        raise ValueError(f"segmentation.counts: got runs of {sum(runs)} pixels, expected {height * width}")
    return {"size": [height, width], "counts": counts}
