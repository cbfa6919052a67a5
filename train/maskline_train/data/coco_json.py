"""Read and check `instances_<split>.json` or `person_keypoints_<split>.json`.

The first mistake is named with its place and the next step.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from maskline_train.data.errors import DataError
from maskline_train.data.segmentation import Segmentation, parse_segmentation, rasterise


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One annotated object."""

    id: int
    label: int  # class index
    bbox_xywh: tuple[float, float, float, float]  # px of the original image
    segmentation: Segmentation
    area_px: float  # of the mask; the metric sorts objects into small, medium and large by it
    iscrowd: bool
    unused: str  # why training leaves it out; "" when it does not
    keypoints: tuple[float, ...] = ()  # x, y, visibility of each, as in the file; empty where it says none


@dataclasses.dataclass(frozen=True)
class ImageRecord:
    """One image of the file, with its annotations in the order of their ids."""

    id: int
    file_name: str
    height: int
    width: int
    annotations: tuple[Annotation, ...]


def read_instances(path: Path) -> tuple[dict[int, str], tuple[str, ...], list[ImageRecord]]:
    """Categories (id to name, in id order), names of keypoints and images (in id order) of a COCO instances file.

    The names are those of the categories that have keypoints, which must all have the same; mostly there are none.

    Raises:
        DataError: not json, a missing or wrong entry, a duplicate id, or a reference to nothing.
    """
    data = _load(path)
    try:
        categories = _read_categories(data["categories"])
        keypoint_names = _read_keypoint_names(data["categories"])
        images = _read_images(data["images"])
        grouped = _read_annotations(data["annotations"], categories, images, len(keypoint_names))
    except _MistakeError as mistake:
        raise DataError(f"{path}: {mistake}; correct the file") from mistake
    records = [
        dataclasses.replace(images[key], annotations=tuple(sorted(grouped[key], key=lambda a: a.id)))
        for key in sorted(images)
    ]
    return categories, keypoint_names, records


class _MistakeError(ValueError):
    """What is wrong inside the json, without the file's name."""


def _load(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a whole JSON file ({error}); it was cut off or damaged; copy or download it again"
        ) from error
    if not isinstance(data, dict):
        raise DataError(f"{path}: got a JSON {type(data).__name__}, expected an object with images and annotations")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise DataError(
                f"{path}: got no list {key!r}, expected a COCO instances file (images, annotations, categories); "
                "is it a captions or results file?"
            )
    return data


def _read_categories(entries: list[Any]) -> dict[int, str]:
    """Id to name, ordered by id. Gaps between ids are fine; classes are numbered in this order."""
    names: dict[int, str] = {}
    for position, entry in enumerate(entries):
        where = f"categories[{position}]"
        key, name = _integer(entry, "id", where), _field(entry, "name", where)
        if not isinstance(name, str) or not name.strip() or "\n" in name:
            raise _MistakeError(f"{where}: got the name {name!r}, expected one line of text")
        if key in names:
            raise _MistakeError(f"{where}: category id {key} is there twice ({names[key]!r} and {name!r})")
        if name in names.values():
            raise _MistakeError(f"{where}: the category name {name!r} is there twice, expected one id a name")
        names[key] = name
    if not names:
        raise _MistakeError("got no category, expected at least one")
    return dict(sorted(names.items()))


def _read_keypoint_names(entries: list[Any]) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for position, entry in enumerate(entries):
        where, names = f"categories[{position}]", entry.get("keypoints", [])
        good = isinstance(names, list) and all(isinstance(name, str) and name.strip() for name in names)
        if not good or len(set(names)) != len(names):
            raise _MistakeError(f"{where}: got keypoints {names!r}, expected a list of names, each once")
        if names and found and tuple(names) != found:
            raise _MistakeError(
                f"{where}: got the keypoints {', '.join(names)}, expected those of the other categories "
                f"({', '.join(found)}); a model has one set of keypoints"
            )
        found = found or tuple(names)
    return found


def _read_images(entries: list[Any]) -> dict[int, ImageRecord]:
    images: dict[int, ImageRecord] = {}
    for position, entry in enumerate(entries):
        where = f"images[{position}]"
        record = ImageRecord(
            _integer(entry, "id", where),
            _file_name(entry, where),
            _integer(entry, "height", where, at_least=1),
            _integer(entry, "width", where, at_least=1),
            (),
        )
        if record.id in images:
            raise _MistakeError(
                f"{where}: image id {record.id} is there twice ({images[record.id].file_name} and {record.file_name})"
            )
        images[record.id] = record
    if not images:
        raise _MistakeError("got no image, expected at least one")
    return images


def _read_annotations(
    entries: list[Any], categories: dict[int, str], images: dict[int, ImageRecord], num_keypoints: int
) -> dict[int, list[Annotation]]:
    labels = {category: label for label, category in enumerate(categories)}
    grouped: dict[int, list[Annotation]] = {key: [] for key in images}
    seen: set[int] = set()
    for position, entry in enumerate(entries):
        where = f"annotations[{position}]"
        key = _integer(entry, "id", where)
        where = f"{where} (id {key})"
        if key in seen:
            raise _MistakeError(f"{where}: annotation id {key} is there twice")
        seen.add(key)
        image_id, category = _integer(entry, "image_id", where), _integer(entry, "category_id", where)
        if image_id not in images:
            raise _MistakeError(f"{where}: image_id {image_id} is not among the {len(images)} images")
        if category not in labels:
            known = ", ".join(map(str, list(labels)[:10])) + (", ..." if len(labels) > 10 else "")
            raise _MistakeError(f"{where}: unknown category_id {category}, expected one of {known}")
        grouped[image_id].append(_read_annotation(entry, where, labels[category], images[image_id], num_keypoints))
    return grouped


def _read_annotation(
    entry: dict[str, Any], where: str, label: int, image: ImageRecord, num_keypoints: int
) -> Annotation:
    box = _box(entry, where)
    try:
        segmentation, unused = parse_segmentation(entry.get("segmentation"), image.height, image.width)
    except ValueError as error:
        raise _MistakeError(f"{where}: {error}") from error
    iscrowd = entry.get("iscrowd", 0)
    if iscrowd not in (0, 1):
        raise _MistakeError(f"{where}: got iscrowd {iscrowd!r}, expected 0 or 1")
    area = entry.get("area")
    if area is None:
        area = int(rasterise(segmentation, image.height, image.width).sum())
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area):
        raise _MistakeError(f"{where}: got area {area!r}, expected a number of pixels")
    unused = _why_unused(box, image, iscrowd == 1) or unused
    keypoints = _keypoints(entry, where, num_keypoints)
    return Annotation(entry["id"], label, box, segmentation, float(area), iscrowd == 1, unused, keypoints)


def _why_unused(box: tuple[float, float, float, float], image: ImageRecord, iscrowd: bool) -> str:
    x, y, width, height = box
    if iscrowd:
        return "crowd regions"
    if width <= 0 or height <= 0:
        return "with a box without area"
    if x >= image.width or y >= image.height or x + width <= 0 or y + height <= 0:
        return "outside their image"
    return ""


def _field(entry: Any, name: str, where: str) -> Any:
    if not isinstance(entry, dict):
        raise _MistakeError(f"{where}: got {entry!r}, expected an object")
    if name not in entry:
        raise _MistakeError(f"{where}: no {name!r}, expected keys {name}, ...")
    return entry[name]


def _integer(entry: Any, name: str, where: str, at_least: int | None = None) -> int:
    value = _field(entry, name, where)
    if isinstance(value, bool) or not isinstance(value, int) or (at_least is not None and value < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        raise _MistakeError(f"{where}: got {name} {value!r}, expected a whole number{bound}")
    return value


def _file_name(entry: Any, where: str) -> str:
    """A name inside the image folder: an absolute path or `..` would read files from elsewhere."""
    name = _field(entry, "file_name", where)
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise _MistakeError(f"{where}: got file_name {name!r}, expected a path inside the image folder")
    return name


def _box(entry: Any, where: str) -> tuple[float, float, float, float]:
    value = _field(entry, "bbox", where)
    good = isinstance(value, list) and len(value) == 4
    if not good or not all(isinstance(v, int | float) and math.isfinite(v) for v in value):
        raise _MistakeError(f"{where}: got bbox {value!r}, expected [x, y, width, height] in pixels")
    return float(value[0]), float(value[1]), float(value[2]), float(value[3])


def _keypoints(entry: dict[str, Any], where: str, num_keypoints: int) -> tuple[float, ...]:
    """x, y, visibility of each keypoint; empty where the annotation has none, or the categories name none."""
    value = entry.get("keypoints", [])
    if not num_keypoints or value == []:
        return ()
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in value
    )
    if not numbers or len(value) != 3 * num_keypoints:
        raise _MistakeError(
            f"{where}: got keypoints {str(value)[:80]}, expected {3 * num_keypoints} numbers: "
            f"x, y and visibility of each of {num_keypoints}"
        )
    if not set(value[2::3]) <= {0, 1, 2}:
        raise _MistakeError(f"{where}: got the visibilities {value[2::3]}, expected 0, 1 or 2")
    return tuple(map(float, value))
