"""What every format is read into: pictures with their objects, and what was noticed on the way.

H W an image, upright (its EXIF orientation applied): training reads pictures so, and masks are of that frame.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from maskline_coco.annotation_file import MAX_OBJECTS
from maskline_coco.fields import text_line
from maskline_coco.segmentation import Segmentation, area_px, parse_segmentation, rasterise, to_rle
from pycocotools import mask as coco_mask

from maskline_train.data.errors import DataError

Mask = npt.NDArray[np.bool_]
Notes = Counter[str]  # what was left out or assumed -> how often; printed at the end

BEYOND = "shapes beyond the picture, cut off at its border"
EMPTY = "objects without a pixel, left out"
FEW_POINTS = "polygons of less than 3 points, left out"
UNLABELLED = "pictures without a label file, kept as pictures without objects"
SPLITS = ("train", "val", "test")  # how the names of splits begin: train2017, Validation


@dataclasses.dataclass(frozen=True)
class Object:
    """One object.

    Attributes:
        name: of its class.
        segmentation: polygons [[x0, y0, x1, y1, ...], ...] in pixels, or an RLE of the picture's size.
        iscrowd: a region of several objects, which training leaves out.
    """

    name: str
    segmentation: Segmentation
    iscrowd: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture with its objects.

    Attributes:
        file_name: in the split's folder, with "/" between folders.
        source: the file, or what gives its bytes where a label file holds them: of all pictures they would be too much.
        size: (height, width) upright.
        objects: in the order of the label file.
        split: what the format says; "" where it says nothing.
    """

    file_name: str
    source: Path | Callable[[], bytes]
    size: tuple[int, int]
    objects: tuple[Object, ...]
    split: str = ""


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A data set: class names in the order of their indices, and the pictures."""

    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]


def class_name(value: Any, where: str) -> str:
    """A name as a COCO file may hold it.

    Raises:
        DataError: no text of one line.
    """
    try:
        return text_line(value, "class", where)
    except ValueError as error:
        raise DataError(f"{error}; correct it") from error


def of_polygons(
    name: str, polygons: list[list[float]], size: tuple[int, int], where: str, notes: Notes
) -> Object | None:
    """An object of polygons, all of its own; None, and a note, where nothing of it is left.

    Raises:
        DataError: a number that is no coordinate, or an outline of millions of pixels.
    """
    few = sum(len(polygon) < 6 for polygon in polygons)
    try:
        segmentation, _ = parse_segmentation(polygons, *size)
    except ValueError as error:
        raise DataError(f"{where}: {error}; correct it") from error
    notes.update({FEW_POINTS: few} if few else {})
    if not segmentation:
        return None
    height, width = size
    kept = [polygon for polygon in polygons if len(polygon) >= 6]
    notes[BEYOND] += sum(
        min(polygon) < 0 or max(polygon[0::2]) > width or max(polygon[1::2]) > height for polygon in kept
    )
    return unless_empty(Object(name, segmentation), size, notes)


def of_mask(name: str, mask: Mask, notes: Notes) -> Object | None:
    """An object of pixels, [H, W] bool; None, and a note, where there are none."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    segmentation = {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}
    return unless_empty(Object(name, segmentation), (mask.shape[0], mask.shape[1]), notes)


def placed(pixels: Mask, left: int, top: int, size: tuple[int, int], notes: Notes) -> Mask:
    """A mask [H, W] of a window of pixels with its corner at (left, top); what lies beyond is cut off, and noted."""
    height, width = size
    notes[BEYOND] += left < 0 or top < 0 or left + pixels.shape[1] > width or top + pixels.shape[0] > height
    mask: Mask = np.zeros(size, bool)
    inner = pixels[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    mask[max(0, top) : max(0, top) + inner.shape[0], max(0, left) : max(0, left) + inner.shape[1]] = inner
    return mask


def of_parts(
    name: str, polygons: list[list[float]], masks: Iterable[Mask], size: tuple[int, int], where: str, notes: Notes
) -> Object | None:
    """An object of polygons where there is nothing else, or else of the pixels of all its parts, one mask at a time.

    Raises:
        DataError: as `of_polygons`.
    """
    of_outlines = of_polygons(name, polygons, size, where, notes) if polygons else None
    pixels: Mask | None = None
    for mask in masks:
        pixels = mask if pixels is None else pixels | mask
    if pixels is None:
        return of_outlines
    if of_outlines is not None:
        pixels = pixels | rasterise(of_outlines.segmentation, *size).astype(bool)
    return of_mask(name, pixels, notes)


def split_of(name: str) -> str:
    """train, val or test, by how a name of a split begins; "" of another name."""
    return next((split for split in SPLITS if name.lower().startswith(split)), "")


def check_number(count: int, where: object) -> None:
    """Refuse a picture of more objects than training takes, before their masks are made.

    Raises:
        DataError: too many.
    """
    if count > MAX_OBJECTS:
        raise DataError(f"{where}: got {count} objects, expected at most {MAX_OBJECTS} a picture; cut it into tiles")


def annotation(entry: Object, size: tuple[int, int]) -> dict[str, Any]:
    """Box, area and segmentation as COCO has them; box and area are those of the mask's pixels."""
    rle = to_rle(entry.segmentation, *size)
    return {
        "bbox": [float(value) for value in coco_mask.toBbox(rle)],
        "area": int(coco_mask.area(rle)),
        "iscrowd": int(entry.iscrowd),
        "segmentation": entry.segmentation,
    }


def unless_empty(entry: Object, size: tuple[int, int], notes: Notes) -> Object | None:
    """The object; None, and a note, where it has no pixel."""
    if area_px(entry.segmentation, *size):
        return entry
    notes[EMPTY] += 1
    return None
