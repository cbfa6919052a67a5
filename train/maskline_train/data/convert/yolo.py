"""Ultralytics' segmentation labels: `data.yaml`, and a text file a picture with a polygon an object.

`data.yaml` has `names`, and `train`, `val`, `test`: folders of pictures, from `path` on, which is from its folder on.
The labels of `.../images/.../STEM.*` are in `.../labels/.../STEM.txt`: lines `class x0 y0 x1 y1 ...`, the class a
number, x and y as shares of the upright picture's width and height.

Ref: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from maskline_coco.fields import short

from maskline_train.data.convert.files import find_pictures, header_size, inside, read_label, tracked
from maskline_train.data.convert.labelled import (
    SPLITS,
    UNLABELLED,
    Labelled,
    Notes,
    Object,
    Picture,
    check_number,
    class_name,
    of_polygons,
)
from maskline_train.data.errors import DataError

# A polygon may end some pixels beyond the picture; shares that reach beyond its neighbours are hardly shares.
LEAST, MOST = -1.0, 2.0
MAX_DIGITS = 9  # of a class; Python refuses to read thousands


def read_yolo(source: Path, notes: Notes) -> Labelled:
    """The pictures of all splits of `SOURCE/data.yaml`, classes in its order.

    Raises:
        DataError: a mistake in `data.yaml` or a label file, or a label file without its picture.
    """
    path = source / "data.yaml"
    content = _read_yaml(path)
    names = _read_names(content.get("names"), path)
    root = inside(source, source, content.get("path") or ".", f"{path}: path")
    pictures: list[Picture] = []
    for split in SPLITS:
        folders = content.get(split) or []
        for folder in folders if isinstance(folders, list) else [folders]:
            place = inside(source, root, folder, f"{path}: {split}")
            pictures += _read_folder(place, _labels_of(place, source), split, names, notes)
    if not pictures:
        raise DataError(f"{path}: got none of {', '.join(SPLITS)}, expected folders of pictures; add them")
    return Labelled(names, tuple(pictures))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_label(path))
    except DataError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # no YAML, no UTF-8, lists a thousand deep
        raise DataError(f"{path}: not a YAML file ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: got {short(content)}, expected names, train and val; is it a data.yaml?")
    return content


def _read_names(names: Any, path: Path) -> tuple[str, ...]:
    """Names in the order of their numbers, of a list or a mapping from 0 on."""
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: got names {short(names)}, expected a list, or a mapping of 0, 1, ... to names")
    found = tuple(class_name(name, f"{path}: names") for name in names)
    if len(set(found)) < len(found):
        raise DataError(f"{path}: got names {short(names)}, expected each once; rename one")
    return found


def _labels_of(folder: Path, source: Path) -> Path:
    """Where the labels of a folder of pictures are: the last `images` of its path in SOURCE is `labels`."""
    if not folder.is_dir():
        raise DataError(f"{folder}: got no such folder, expected pictures; correct data.yaml")
    parts = folder.resolve().relative_to(source.resolve()).parts
    if "images" not in parts:
        raise DataError(f"{folder}: got no images/ in the path, expected one, as the labels are in labels/ beside it")
    place = len(parts) - 1 - parts[::-1].index("images")
    return source.joinpath(*parts[:place], "labels", *parts[place + 1 :])


def _read_folder(folder: Path, labels: Path, split: str, names: tuple[str, ...], notes: Notes) -> list[Picture]:
    left = {path.relative_to(labels).with_suffix("") for path in labels.rglob("*.txt")}
    pictures = []
    for path in tracked(find_pictures(folder), f"Reading {split}"):
        size, name = header_size(path, path, notes), path.relative_to(folder)
        label = labels / name.with_suffix(".txt")
        notes.update({} if label.is_file() else {UNLABELLED: 1})
        objects = _read_objects(label, size, names, notes) if label.is_file() else ()
        left.discard(name.with_suffix(""))
        pictures.append(Picture(name.as_posix(), path, size, objects, split))
    if left:
        raise DataError(f"{labels / min(left)}.txt: got no picture of that name in {folder}, expected one; remove it")
    return pictures


def _read_objects(path: Path, size: tuple[int, int], names: tuple[str, ...], notes: Notes) -> tuple[Object, ...]:
    try:
        lines = read_label(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); expected lines of numbers; copy it again") from error
    check_number(len(lines), path)
    found = [_read_line(line, size, names, f"{path}: line {row}", notes) for row, line in enumerate(lines, 1)]
    return tuple(entry for entry in found if entry is not None)


def _read_line(line: str, size: tuple[int, int], names: tuple[str, ...], where: str, notes: Notes) -> Object | None:
    words = line.split()
    if not words:
        return None
    if not words[0].isdecimal() or len(words[0]) > MAX_DIGITS or int(words[0]) >= len(names):
        raise DataError(f"{where}: got the class {short(words[0])}, expected 0 to {len(names) - 1}; see data.yaml")
    if len(words) == 5:
        raise DataError(f"{where}: got a box (class and 4 numbers), expected a polygon; a box holds no mask")
    try:
        shares = [float(word) for word in words[1:]]
    except ValueError as error:
        raise DataError(f"{where}: {error}, expected numbers; correct it") from error
    if len(shares) % 2 or not all(LEAST <= share <= MOST for share in shares):
        raise DataError(f"{where}: got {short(shares)}, expected pairs of x and y from 0 to 1; are they pixels?")
    height, width = size
    polygon = [share * (height if index % 2 else width) for index, share in enumerate(shares)]
    return of_polygons(names[int(words[0])], [polygon], size, where, notes)
