"""COCO files as other tools export them: one for all pictures or one a split, pictures wherever the tool puts them.

Files: `annotations/*.json` (of these `instances_*.json` where there is one), or else `*.json` and `*/*.json`. Pictures
of `F/annotations/instances_S.json`: `file_name` from `F/images/S`, `F/S`, the file's own folder, `F/images` or `F` on.

Ref: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import dataclasses
from pathlib import Path, PureWindowsPath
from typing import Any

from maskline_coco.annotation import Annotation
from maskline_coco.annotation_file import ImageRecord, load_instances, parse_instances
from maskline_coco.fields import short

from maskline_train.data.convert.files import first_file, header_size, inside, tracked
from maskline_train.data.convert.labelled import Labelled, Notes, Object, Picture, of_polygons, split_of, unless_empty
from maskline_train.data.errors import DataError

PREFIX = "instances_"

BOXES = "objects without a mask (boxes alone), left out"
CROWDS = "objects with iscrowd 1, which training leaves out (--no-crowds takes them as objects)"
TAKEN = "objects with iscrowd 1, taken as objects"
KEYPOINTS = "objects with keypoints, of which the mask is kept alone"
NAME_ALONE = "pictures whose path leads out of SOURCE, found there by the file's name alone"
SUPERCATEGORY = "categories without an object that only group others (supercategory), left out"


@dataclasses.dataclass(frozen=True)
class File:
    """A COCO file, and where its pictures may be."""

    path: Path
    split: str  # train, val, test; "" where no name says it
    roots: tuple[Path, ...]


def read_coco(source: Path, no_crowds: bool, notes: Notes) -> Labelled:
    """The pictures of all files; classes in the order of their ids, those of a later file behind.

    Args:
        source: the folder.
        no_crowds: objects with iscrowd 1 are objects like others.
        notes: filled.

    Raises:
        DataError: no file, a mistake in one, a missing picture, or no mask at all.
    """
    pictures: list[Picture] = []
    classes: dict[str, None] = {}
    for file in _find_files(source):
        names, found = _read_file(file, source, no_crowds, notes)
        classes |= dict.fromkeys(names)
        pictures += found
    if notes[BOXES] and not any(picture.objects for picture in pictures):
        raise DataError(
            f"{source}: got {notes[BOXES]} objects, all of them boxes without a mask, expected polygons or run "
            "lengths in segmentation; export it as instance segmentation"
        )
    return Labelled(tuple(classes), tuple(pictures))


def _find_files(source: Path) -> list[File]:
    paths = sorted((source / "annotations").glob("*.json"))
    paths = [path for path in paths if path.name.startswith(PREFIX)] or paths
    paths = paths or sorted([*source.glob("*.json"), *source.glob("*/*.json")])
    if not paths:
        source.stat()  # says itself that it is not there
        raise DataError(f"{source}: got no .json file, there, in annotations/ or in a folder; is it a COCO export?")
    files = [_placed(path, source) for path in paths]
    unnamed = [file.path for file in files if not file.split]
    if len(unnamed) not in (0, len(files)):
        raise DataError(
            f"{unnamed[0]}: got a file of no split beside others of train, val or test, expected all of them or none "
            "in the files' or folders' names; rename or remove it"
        )
    return files


def _placed(path: Path, source: Path) -> File:
    """The split by the file's name, or else by its folder's, as Roboflow has it."""
    name = path.stem.removeprefix(PREFIX)
    folder = path.parent.name if path.parent != source else ""
    split = split_of(name) or split_of(folder)
    roots = (source / "images" / name, source / name, path.parent, source / "images", source)
    return File(path, split, roots)


def _read_file(file: File, source: Path, no_crowds: bool, notes: Notes) -> tuple[list[str], list[Picture]]:
    data = load_instances(file.path)
    _number(data["annotations"])
    _name(data["images"], notes)
    _drop_supercategories(data, notes)
    categories, _, records = parse_instances(data, file.path)
    names = list(categories.values())
    found = []
    for record in tracked(records, f"Reading {file.path.name}"):
        picture = _find_picture(record, file, source)
        size = header_size(picture, picture, notes)
        if size != (record.height, record.width):
            raise DataError(
                f"{file.path}: got {record.width}x{record.height} for {short(record.file_name)}, expected "
                f"{size[1]}x{size[0]}, the picture's once its EXIF orientation is applied; export it anew"
            )
        objects = []
        for entry in record.annotations:
            place = entry.id - 1  # `_number` has numbered them
            raw, where = data["annotations"][place].get("segmentation"), f"{file.path}: annotations[{place}]"
            objects.append(_object(entry, raw, names[entry.label], size, where, notes))
        kept = tuple(_crowd(entry, no_crowds, notes) for entry in objects if entry is not None)
        found.append(Picture(record.file_name, picture, size, kept, file.split))
    return names, found


def _number(annotations: list[Any]) -> None:
    """Number the annotations by their places: some tools give ids an image, and nothing else refers to them."""
    for number, entry in enumerate(annotations, 1):
        if isinstance(entry, dict):
            entry["id"] = number


def _name(images: list[Any], notes: Notes) -> None:
    """Of paths of another machine, or of Label Studio's own folders, keep the name; a backslash is read as a slash."""
    for entry in images:
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            path = PureWindowsPath(entry["file_name"])
            leaves = bool(path.anchor) or ".." in path.parts
            notes[NAME_ALONE] += leaves
            entry["file_name"] = path.name if leaves else path.as_posix()


def _drop_supercategories(data: dict[str, Any], notes: Notes) -> None:
    """Leave out categories that Roboflow adds: the name of a group, no object; it may be a class's name as well."""
    entries = [entry for entry in data["annotations"] if isinstance(entry, dict)]
    used = {entry.get("category_id") for entry in entries if isinstance(entry.get("category_id"), int)}
    categories = data["categories"]
    kept = [entry for entry in categories if not _is_group(entry, categories, used)]
    notes[SUPERCATEGORY] += len(categories) - len(kept)
    data["categories"] = kept


def _is_group(entry: Any, categories: list[Any], used: set[Any]) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), int) or entry["id"] in used:
        return False
    others = (other for other in categories if other is not entry and isinstance(other, dict))
    name = entry.get("name")
    return isinstance(name, str) and any(other.get("supercategory") == name for other in others)


def _find_picture(record: ImageRecord, file: File, source: Path) -> Path:
    paths = [inside(source, root, record.file_name, file.path) for root in file.roots]
    found = first_file(paths)
    if found is None:
        looked = ", ".join(dict.fromkeys(str(root) for root in file.roots))
        raise DataError(f"{file.path}: got no picture {short(record.file_name)} in {looked}, expected it; add it")
    return found


def _object(
    entry: Annotation, segmentation: Any, name: str, size: tuple[int, int], where: str, notes: Notes
) -> Object | None:
    if not segmentation:
        notes[BOXES] += 1
        return None
    if isinstance(segmentation, list):
        found = of_polygons(name, segmentation, size, where, notes)
    else:
        found = unless_empty(Object(name, entry.segmentation), size, notes)
    if found is None:
        return None
    notes[KEYPOINTS] += bool(entry.keypoints)
    return dataclasses.replace(found, iscrowd=entry.iscrowd)


def _crowd(entry: Object, no_crowds: bool, notes: Notes) -> Object:
    if not entry.iscrowd:
        return entry
    notes[TAKEN if no_crowds else CROWDS] += 1
    return dataclasses.replace(entry, iscrowd=not no_crowds)
