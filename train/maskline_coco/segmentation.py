"""COCO segmentations (polygons, plain and compressed RLE): checked, then turned into pixels by pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from maskline_coco.fields import MAX_COORDINATE_PX, is_coordinate, short

# pycocotools draws an outline point by point: 82 bytes of memory a pixel of its length, however small the file is.
MAX_OUTLINE_PX = 2_000_000
_MAX_COUNT_BITS = 35  # more than any run of an image; a number of a million groups would take minutes to add up

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
        _check_outlines(kept)
        return kept, "" if kept else "with polygons of less than 3 points"
    if isinstance(value, dict):
        return _check_rle(value, height, width), ""
    raise ValueError(f"segmentation: got {type(value).__name__}, expected a list of polygons or an RLE object")


def area_px(segmentation: Segmentation, height: int, width: int) -> int:
    """How many pixels `rasterise` sets."""
    return int(coco_mask.area(to_rle(segmentation, height, width))) if segmentation else 0


def rasterise(segmentation: Segmentation, height: int, width: int) -> npt.NDArray[np.uint8]:
    """[H, W] uint8, 0 or 1; what lies outside the image is cut off; no polygon gives zeros."""
    if not segmentation:
        return np.zeros((height, width), np.uint8)
    return np.asarray(coco_mask.decode(to_rle(segmentation, height, width)))


def to_rle(segmentation: Segmentation, height: int, width: int) -> Any:
    """The compressed RLE of a mask, as pycocotools has it; of a segmentation that is not empty."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


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
            if shift >= _MAX_COUNT_BITS:
                raise ValueError(
                    f"segmentation.counts: got a number of more than {_MAX_COUNT_BITS} bits, expected less"
                )
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
    if not set(map(type, polygon)) <= {int, float} or not _are_coordinates(polygon):
        wrong = next(number for number in polygon if not is_coordinate(number))
        raise ValueError(
            f"segmentation: got {short(wrong)} in a polygon, expected pixels, each within {MAX_COORDINATE_PX} of 0"
        )
    return polygon


def _are_coordinates(polygon: list[float]) -> bool:
    """`is_coordinate` of all numbers at once; a data set has millions of them."""
    try:
        return not polygon or bool(np.abs(np.array(polygon, np.float64)).max() <= MAX_COORDINATE_PX)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _check_outlines(polygons: list[list[float]]) -> None:
    """Refuse outlines that would take more memory to draw than any image's objects do."""
    length = sum(map(_outline_px, polygons))
    if length > MAX_OUTLINE_PX:
        raise ValueError(
            f"segmentation: got outlines of {length:.0f} px, expected at most {MAX_OUTLINE_PX}; is a coordinate wrong?"
        )


def _outline_px(polygon: list[float]) -> float:
    """The points that pycocotools draws, in pixels: of each edge the longer of its width and height."""
    points = np.array(polygon, np.float64).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _check_rle(rle: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """Check sizes and run lengths: pycocotools would write past its buffer for runs longer than the image."""
    if rle.get("size") != [height, width]:
        raise ValueError(f"segmentation.size: got {short(rle.get('size'))}, expected the image's {[height, width]}")
    counts = rle.get("counts")
    if not isinstance(counts, str | list):
        raise ValueError(f"segmentation.counts: got {type(counts).__name__}, expected a list or a string")
    runs = decode_counts(counts) if isinstance(counts, str) else counts
    if not all(isinstance(run, int) and not isinstance(run, bool) and run >= 0 for run in runs):
        raise ValueError("segmentation.counts: got a negative or fractional run, expected whole numbers of pixels")
    if sum(runs) != height * width:
        raise ValueError(f"segmentation.counts: got runs of {short(sum(runs))} pixels, expected {height * width}")
    return {"size": [height, width], "counts": counts}
