"""Read and check `instances_<split>.json` or `person_keypoints_<split>.json`.

The first mistake is named with its place and the next step.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from maskline_coco.annotation import Annotation, read_annotation
from maskline_coco.errors import DataError, ImageError
from maskline_coco.fields import MistakeError, field, integer, optional, short, text_line
from maskline_coco.image_limits import LIMITS, check_pixels

# What is made of them later is large, however short the file is: COCOeval keeps 194 kB a category, and an annotation
# that says nothing of keypoints has all of them, not labelled.
MAX_CATEGORIES = 10_000
MAX_KEYPOINTS = 1000
# Of an image. Training keeps a mask of each at the network's size, 1 MB at 800 x 1333; COCOeval's time grows with them.
MAX_OBJECTS = 5000


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
    return parse_instances(load_instances(path), path)


def parse_instances(data: dict[str, Any], path: Path) -> tuple[dict[int, str], tuple[str, ...], list[ImageRecord]]:
    """The same of what `load_instances` gave; `path` names the file in errors.

    Raises:
        DataError: a missing or wrong entry, a duplicate id, or a reference to nothing.
    """
    try:
        categories = _read_categories(data["categories"])
        keypoint_names = _read_keypoint_names(data["categories"])
        images = _read_images(data["images"])
        grouped = _read_annotations(data["annotations"], categories, images, len(keypoint_names))
    except MistakeError as mistake:
        raise DataError(f"{path}: {mistake}; correct the file") from mistake
    records = [
        dataclasses.replace(images[key], annotations=tuple(sorted(grouped[key], key=lambda a: a.id)))
        for key in sorted(images)
    ]
    return categories, keypoint_names, records


def load_instances(path: Path) -> dict[str, Any]:
    """The object in a file, with the lists `images`, `annotations` and `categories`; nothing in these is checked.

    Raises:
        DataError: no json, a key twice, or another object.
    """
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_each_key_once)
    except MistakeError as mistake:
        raise DataError(f"{path}: {mistake}; correct the file") from mistake
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8, or a number of thousands of digits
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


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the file; of a key that is there twice, JSON readers take the last without a word."""
    entry = dict(pairs)
    if len(entry) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        values = " and ".join(short(value) for key, value in pairs if key == twice)
        raise MistakeError(f"an object has the key {short(twice)} twice ({values}), expected each key once")
    return entry


def _read_categories(entries: list[Any]) -> dict[int, str]:
    """Id to name, ordered by id. Gaps between ids are fine; classes are numbered in this order."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for position, entry in enumerate(entries):
        where = f"categories[{position}]"
        key, name = integer(entry, "id", where), text_line(field(entry, "name", where), "name", where)
        if key in names:
            raise MistakeError(f"{where}: category id {key} is there twice ({names[key]!r} and {name!r})")
        if name in taken:
            raise MistakeError(f"{where}: the category name {name!r} is there twice, expected one id a name")
        names[key] = name
        taken.add(name)
    if not 0 < len(names) <= MAX_CATEGORIES:
        raise MistakeError(f"got {len(names) or 'no'} category, expected 1 to {MAX_CATEGORIES}")
    return dict(sorted(names.items()))


def _read_keypoint_names(entries: list[Any]) -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for position, entry in enumerate(entries):
        where, names = f"categories[{position}]", optional(entry, "keypoints", [])
        if not isinstance(names, list):
            raise MistakeError(f"{where}: got keypoints {short(names)}, expected a list of names, each once")
        names = [text_line(name, "keypoint", where) for name in names]
        if len(set(names)) != len(names) or len(names) > MAX_KEYPOINTS:
            raise MistakeError(
                f"{where}: got keypoints {short(names)}, expected a list of names, each once, at most {MAX_KEYPOINTS}"
            )
        if names and found and tuple(names) != found:
            raise MistakeError(
                f"{where}: got the keypoints {', '.join(names)}, expected those of the other categories "
                f"({', '.join(found)}); a model has one set of keypoints"
            )
        found = found or tuple(names)
    return found


def _read_images(entries: list[Any]) -> dict[int, ImageRecord]:
    images: dict[int, ImageRecord] = {}
    for position, entry in enumerate(entries):
        where = f"images[{position}]"
        record = ImageRecord(integer(entry, "id", where), _file_name(entry, where), *_size(entry, where), ())
        if record.id in images:
            raise MistakeError(
                f"{where}: image id {record.id} is there twice ({images[record.id].file_name} and {record.file_name})"
            )
        images[record.id] = record
    if not images:
        raise MistakeError("got no image, expected at least one")
    return images


def _read_annotations(
    entries: list[Any], categories: dict[int, str], images: dict[int, ImageRecord], num_keypoints: int
) -> dict[int, list[Annotation]]:
    labels = {category: label for label, category in enumerate(categories)}
    grouped: dict[int, list[Annotation]] = {key: [] for key in images}
    seen: set[int] = set()
    for position, entry in enumerate(entries):
        where = f"annotations[{position}]"
        key = integer(entry, "id", where)
        where = f"{where} (id {key})"
        if key in seen:
            raise MistakeError(f"{where}: annotation id {key} is there twice")
        seen.add(key)
        image_id, category = integer(entry, "image_id", where), integer(entry, "category_id", where)
        if image_id not in images:
            raise MistakeError(f"{where}: image_id {image_id} is not among the {len(images)} images")
        if category not in labels:
            known = ", ".join(map(str, list(labels)[:10])) + (", ..." if len(labels) > 10 else "")
            raise MistakeError(f"{where}: unknown category_id {category}, expected one of {known}")
        size = images[image_id].height, images[image_id].width
        if len(grouped[image_id]) == MAX_OBJECTS:
            raise MistakeError(
                f"{where}: image {image_id} ({images[image_id].file_name}) has more than {MAX_OBJECTS} annotations, "
                "expected at most so many; cut the image into tiles"
            )
        grouped[image_id].append(read_annotation(entry, where, labels[category], size, num_keypoints))
    return grouped


def _size(entry: Any, where: str) -> tuple[int, int]:
    """Height and width, within what is decoded of an image: masks of this size are made before the image is seen."""
    height, width = (integer(entry, name, where, at_least=1) for name in ("height", "width"))
    try:
        check_pixels(where, (width, height), LIMITS)
    except ImageError as error:
        raise MistakeError(str(error)) from error
    return height, width


def _file_name(entry: Any, where: str) -> str:
    return name_inside(field(entry, "file_name", where), where)


def name_inside(value: Any, where: str) -> str:
    """A name inside the image folder: an absolute path or `..` would read, or write, files elsewhere.

    Raises:
        MistakeError: no text of one line, or a path that leaves the folder.
    """
    name = text_line(value, "file_name", where)
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise MistakeError(f"{where}: got file_name {short(name)}, expected a path inside the image folder")
    return name
