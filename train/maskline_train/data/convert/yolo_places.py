"""Where the pictures and labels of Ultralytics' data sets are: `data.yaml`, or `classes.txt` as Label Studio writes it.

`data.yaml` has `names`, and `train`, `val`, `test`: folders of pictures or lists of them (`train.txt`, a path a line),
one or several, from `path` on, which is from its folder on. What leads out of SOURCE was written on another machine:
of `path` nothing counts then, of the others what follows the `../`, as Ultralytics has it for Roboflow's files.
Without any of these, and beside `classes.txt`, the pictures are in `images/`.

Ref: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import yaml
from maskline_coco.fields import short

from maskline_train.data.convert.files import find_pictures, inside, read_label
from maskline_train.data.convert.labelled import SPLITS, Notes, class_name
from maskline_train.data.errors import DataError

ELSEWHERE = "paths of data.yaml or its lists that lead out of SOURCE, taken from its folder on"
_IMAGES = "images"


class Place(NamedTuple):
    """A picture, and where its label file would be.

    Attributes:
        split: train, val or test; "" where nothing says it.
        name: of the picture in its split.
        picture: its file.
        label: the file of its objects, there or not.
    """

    split: str
    name: PurePosixPath
    picture: Path
    label: Path


def find_places(source: Path, notes: Notes) -> tuple[tuple[str, ...], list[Place]]:
    """The names of the classes, and all pictures.

    Raises:
        DataError: a mistake in `data.yaml` or a list, a missing picture, or a label file without its picture.
    """
    path = _settings_of(source)
    if path is None:
        names = _read_text(source / "classes.txt").splitlines()
        return _checked(names, source / "classes.txt"), list(_of_folder(source / _IMAGES, source, ""))
    content = _read_yaml(path)
    classes = _checked(content.get("names"), path)
    root = _root(source, content.get("path"), path, notes)
    found: list[Place] = []
    for split in SPLITS:
        entries = content.get(split) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            place = _within(source, root, entry, f"{path}: {split}", notes)
            listed = place.suffix.lower() == ".txt" and place.is_file()
            found += _of_list(place, source, split, notes) if listed else _of_folder(place, source, split)
    if not found:
        if not (source / _IMAGES).is_dir():
            raise DataError(
                f"{path}: got none of {', '.join(SPLITS)}, and no {_IMAGES}/ beside it; expected folders of pictures, "
                "or lists; add them"
            )
        found += _of_folder(source / _IMAGES, source, "")
    return classes, found


def _settings_of(source: Path) -> Path | None:
    """`data.yaml`, or the only YAML file there is; None where `classes.txt` takes its place."""
    found = sorted([*source.glob("*.yaml"), *source.glob("*.yml")])
    if source / "data.yaml" in found or (not found and not (source / "classes.txt").is_file()):
        return source / "data.yaml"  # reading it says itself that it is not there
    if len(found) > 1:
        raise DataError(f"{found[0]}: got another YAML file beside it, expected data.yaml or one alone; remove one")
    return found[0] if found else None


def _read_text(path: Path) -> str:
    try:
        return read_label(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); copy it again") from error


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


def _checked(names: Any, path: Path) -> tuple[str, ...]:
    """Names in the order of their numbers, of a list or a mapping from 0 on."""
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: got names {short(names)}, expected a list, or a mapping of 0, 1, ... to names")
    found = tuple(class_name(name, f"{path}: names") for name in names)
    if len(set(found)) < len(found):
        raise DataError(f"{path}: got names {short(names)}, expected each once; rename one")
    return found


def _root(source: Path, path: Any, file: Path, notes: Notes) -> Path:
    """The folder that `path` names, where it is in SOURCE, or else SOURCE itself."""
    if path is None:
        return source
    if not isinstance(path, str):
        raise DataError(f"{file}: path: got {short(path)}, expected the name of a folder; correct it")
    folder = source / PureWindowsPath(path).as_posix()
    if "\0" not in path and folder.resolve().is_relative_to(source.resolve()) and folder.is_dir():
        return folder
    notes[ELSEWHERE] += 1
    return source


def _within(source: Path, folder: Path, name: Any, where: str, notes: Notes) -> Path:
    """A path that `data.yaml` or a list names, from `folder` on; one that leads out by `../` without that."""
    try:
        return inside(source, folder, name, where)
    except DataError:
        parts = PureWindowsPath(name).parts if isinstance(name, str) and "\0" not in name else ()
        behind = [part for part in parts if part not in ("..", ".")]
        if parts[:1] not in (("..",), (".",)) or not (source / Path(*behind)).exists():
            raise
        notes[ELSEWHERE] += 1
        return inside(source, source, Path(*behind).as_posix(), where)


def _label_of(picture: Path, source: Path) -> Path:
    """Where the labels of a picture are, or those of a folder: the last `images` of its path in SOURCE is `labels`."""
    parts = _straight(picture).relative_to(_straight(source)).parts
    if _IMAGES not in parts:
        raise DataError(f"{picture}: got no images/ in the path, expected one, as the labels are in labels/ beside it")
    place = len(parts) - 1 - parts[::-1].index(_IMAGES)
    return source.joinpath(*parts[:place], "labels", *parts[place + 1 :])


def _straight(path: Path) -> Path:
    """Absolute, without `..`; a link keeps its own name, by which its label file is named."""
    return Path(os.path.abspath(path))  # noqa: PTH100 -- pathlib's keeps ".."


def _of_folder(folder: Path, source: Path, split: str) -> Iterator[Place]:
    if not folder.is_dir():
        raise DataError(f"{folder}: got no such folder or list, expected pictures; correct data.yaml")
    labels = _label_of(folder, source)
    left = {path.relative_to(labels).with_suffix("") for path in labels.rglob("*.txt") if path.name != "classes.txt"}
    for path in find_pictures(folder):
        name = path.relative_to(folder)
        left.discard(name.with_suffix(""))
        yield Place(split, PurePosixPath(name.as_posix()), path, labels / name.with_suffix(".txt"))
    if left:
        raise DataError(f"{labels / min(left)}.txt: got no picture of that name in {folder}, expected one; remove it")


def _of_list(file: Path, source: Path, split: str, notes: Notes) -> Iterator[Place]:
    """The pictures that a list names, from its folder on; named by what their paths do not share."""
    found = []
    for row, line in enumerate(_read_text(file).splitlines(), 1):
        if name := line.strip():
            path = _within(source, file.parent, name, f"{file}: line {row}", notes)
            if not os.path.isfile(path):  # noqa: PTH113 -- pathlib's raises of a name that is too long
                raise DataError(f"{file}: line {row}: got {short(name)}, which is no file in {source}; correct it")
            found.append(_straight(path))
    shared = os.path.commonpath([path.parent for path in found]) if found else ""
    for path in found:
        yield Place(
            split, PurePosixPath(path.relative_to(shared).as_posix()), path, _label_of(path, source).with_suffix(".txt")
        )
