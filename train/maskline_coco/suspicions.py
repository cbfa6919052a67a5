"""What is no mistake of a file and yet hardly meant: boxes in another format, a class that is none, a file twice."""

from __future__ import annotations

import dataclasses
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from maskline_coco.annotation import Annotation
from maskline_coco.annotation_file import ImageRecord
from maskline_coco.segmentation import to_rle
from maskline_coco.truth import Categories

FITS = 0.5  # IoU of a box with the box around its mask; a tight box has 1, one of another format mostly less than 0.3
Box = npt.NDArray[np.float64]  # [4] xyxy


@dataclasses.dataclass
class _Counts:
    """What the annotations of a split look like."""

    boxes: int = 0
    within_one: int = 0  # boxes whose four numbers are 0..1
    with_mask: int = 0
    missing: int = 0  # boxes that miss the box around their mask
    as_corners: int = 0  # those of them that fit it when their last two numbers are the lower right corner


def suspicions(records: Iterable[ImageRecord], categories: Categories) -> Iterator[str]:
    """A line for each thing of the file that is hardly meant.

    Args:
        records: the images.
        categories: what their annotations refer to.
    """
    counts, used = _Counts(), set()
    files: Counter[str] = Counter()
    usable = 0
    for record in records:
        files[posixpath.normpath(record.file_name)] += 1
        for annotation in record.annotations:
            used.add(annotation.label)
            usable += not annotation.unused
            if not annotation.iscrowd:
                _count(counts, annotation, (record.height, record.width))
    if not usable:
        yield "no image has an object to train on, expected some; nothing is learned from such a split, or scored on it"
    again = [name for name, times in files.items() if times > 1]
    if again:
        names = ", ".join(again[:3]) + (", ..." if len(again) > 3 else "")
        yield (
            f"more than one image has the file {names} ({len(again)} such files), expected one entry a file; what one "
            "entry marks is background in the other"
        )
    if counts.missing > counts.with_mask / 2:
        format_ = "[x0, y0, x1, y1]" if counts.as_corners > counts.missing / 2 else "another format"
        yield (
            f"{counts.missing} of {counts.with_mask} boxes miss the box around their own mask, expected [x, y, width, "
            f"height] in pixels; are they {format_}?"
        )
    if counts.boxes and counts.within_one == counts.boxes:
        yield f"all {counts.boxes} boxes are within 0..1, expected pixels; are they fractions of the image's size?"
    if used and 0 not in used and len(categories.ids) > 1:
        yield (
            f"the first category, {categories.names[0]!r} (id {categories.ids[0]}), has no annotation; Roboflow writes "
            "its project's name there: if it is no class, remove it from categories, or the model has one too many"
        )


def _count(counts: _Counts, annotation: Annotation, size: tuple[int, int]) -> None:
    x, y, width, height = annotation.bbox_xywh
    counts.boxes += 1
    counts.within_one += min(annotation.bbox_xywh) >= 0 and max(annotation.bbox_xywh) <= 1
    around = _around_mask(annotation, size)
    if around is None:
        return
    counts.with_mask += 1
    if _iou(np.array([x, y, x + width, y + height]), around) < FITS:
        counts.missing += 1
        counts.as_corners += _iou(np.array(annotation.bbox_xywh), around) >= FITS


def _around_mask(annotation: Annotation, size: tuple[int, int]) -> Box | None:
    """The box around the mask; None where there is nothing of it in the image."""
    segmentation = annotation.segmentation
    if isinstance(segmentation, list):  # by its points: rasterising a million objects takes minutes
        if not segmentation:
            return None
        points = np.concatenate([np.array(polygon, np.float64).reshape(-1, 2) for polygon in segmentation])
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    else:
        x, y, width, height = coco_mask.toBbox(to_rle(segmentation, *size))
        box = np.array([x, y, x + width, y + height])
    return box if (box[2:] > box[:2]).all() else None


def _iou(one: Box, other: Box) -> float:
    """Of two boxes; 0 where one has no area."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if sides.min() <= 0:
        return 0.0
    common = float(sides.prod())
    return common / (float((one[2:] - one[:2]).prod()) + float((other[2:] - other[:2]).prod()) - common)
