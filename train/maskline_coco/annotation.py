"""One annotation of a COCO file: checked, and told apart by whether it can be trained on."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from maskline_coco.fields import MAX_COORDINATE_PX, MistakeError, field, is_coordinate, is_number, optional, short
from maskline_coco.segmentation import Segmentation, area_px, parse_segmentation

Box = tuple[float, float, float, float]
Size = tuple[int, int]  # (height, width)


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One annotated object."""

    id: int
    label: int  # class index
    bbox_xywh: Box  # px of the original image
    segmentation: Segmentation
    area_px: float  # of the mask; the metric sorts objects into small, medium and large by it
    iscrowd: bool
    unused: str  # why training leaves it out; "" when it does not
    keypoints: tuple[float, ...] = ()  # x, y, visibility of each, as in the file; empty where it says none


def read_annotation(entry: dict[str, Any], where: str, label: int, size: Size, num_keypoints: int) -> Annotation:
    """Check an annotation whose ids are known to be good.

    Raises:
        MistakeError: a value of another type or out of its range.
    """
    box = _box(entry, where)
    try:
        segmentation, unused = parse_segmentation(entry.get("segmentation"), *size)
    except ValueError as error:
        raise MistakeError(f"{where}: {error}") from error
    iscrowd = optional(entry, "iscrowd", 0)
    if not isinstance(iscrowd, int) or iscrowd not in (0, 1):
        raise MistakeError(f"{where}: got iscrowd {short(iscrowd)}, expected 0 or 1")
    unused = _why_unused(box, size, iscrowd == 1) or unused
    keypoints = _keypoints(entry, where, num_keypoints)
    area = _area(entry, where, segmentation, size)
    return Annotation(entry["id"], label, box, segmentation, area, iscrowd == 1, unused, keypoints)


def _area(entry: dict[str, Any], where: str, segmentation: Segmentation, size: Size) -> float:
    """The area that the file says, that of the mask where it says none; never more than the image's.

    COCOeval leaves out, without a word, what has a negative area or one of more than 1e10.
    """
    area = entry.get("area")
    if area is None:
        return float(area_px(segmentation, *size))
    if not is_number(area) or area < 0:
        raise MistakeError(f"{where}: got area {short(area)}, expected a number of pixels, 0 or more")
    return float(min(area, math.prod(size)))


def _why_unused(box: Box, size: Size, iscrowd: bool) -> str:
    x, y, width, height = box
    if iscrowd:
        return "crowd regions"
    if width <= 0 or height <= 0:
        return "with a box without area"
    if x >= size[1] or y >= size[0] or x + width <= 0 or y + height <= 0:
        return "outside their image"
    return ""


def _box(entry: Any, where: str) -> Box:
    value = field(entry, "bbox", where)
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_coordinate, value)):
        raise MistakeError(
            f"{where}: got bbox {short(value)}, expected [x, y, width, height] in pixels, each within "
            f"{MAX_COORDINATE_PX} of 0"
        )
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def _keypoints(entry: dict[str, Any], where: str, num_keypoints: int) -> tuple[float, ...]:
    """x, y, visibility of each keypoint; empty where the annotation has none, or the categories name none."""
    value = optional(entry, "keypoints", [])
    if not num_keypoints or value == []:
        return ()
    if not isinstance(value, list) or len(value) != 3 * num_keypoints or not all(map(is_coordinate, value)):
        raise MistakeError(
            f"{where}: got keypoints {short(value)}, expected {3 * num_keypoints} numbers: x, y and visibility of each "
            f"of {num_keypoints}, each within {MAX_COORDINATE_PX} of 0"
        )
    if not set(value[2::3]) <= {0, 1, 2}:
        raise MistakeError(f"{where}: got the visibilities {short(value[2::3])}, expected 0, 1 or 2")
    return tuple(map(float, value))
