"""Ultralytics' segmentation labels: a text file a picture with a polygon an object.

The labels of `.../images/.../STEM.*` are in `.../labels/.../STEM.txt`: lines `class x0 y0 x1 y1 ...`, the class a
number, x and y as shares of the upright picture's width and height. `yolo_places` says where the pictures are.

Ref: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from pathlib import Path

from maskline_coco.fields import short

from maskline_train.data.convert.files import header_size, read_label, tracked
from maskline_train.data.convert.labelled import (
    UNLABELLED,
    Labelled,
    Notes,
    Object,
    Picture,
    check_number,
    of_polygons,
)
from maskline_train.data.convert.yolo_places import Place, find_places
from maskline_train.data.errors import DataError

# A polygon may end some pixels beyond the picture; shares that reach beyond its neighbours are hardly shares.
LEAST, MOST = -1.0, 2.0
MAX_DIGITS = 9  # of a class; Python refuses to read thousands


def read_yolo(source: Path, notes: Notes) -> Labelled:
    """The pictures of all splits, classes in the order of `names`.

    Raises:
        DataError: a mistake in `data.yaml` or a label file, or a label file without its picture.
    """
    names, places = find_places(source, notes)
    return Labelled(names, tuple(_read_picture(place, names, notes) for place in tracked(places, "Reading labels")))


def _read_picture(place: Place, names: tuple[str, ...], notes: Notes) -> Picture:
    size = header_size(place.picture, place.picture, notes)
    labelled = place.label.is_file()
    notes.update({} if labelled else {UNLABELLED: 1})
    objects = _read_objects(place.label, size, names, notes) if labelled else ()
    return Picture(place.name.as_posix(), place.picture, size, objects, place.split)


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
