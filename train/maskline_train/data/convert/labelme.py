"""LabelMe: a JSON file a picture, with polygons, rectangles, circles and masks in pixels of the upright picture.

Shapes of one `label` and one `group_id` are one object, as LabelMe's own exporters have it. Pixel i covers [i, i + 1).
The picture is the file that `imagePath` names, beside the JSON file; where there is none, `imageData` in base64.

H W the picture.
Ref: https://github.com/wkentaro/labelme, labelme/utils/shape.py: a `mask` is a PNG in base64 whose two points are its
first and its last pixel, both within.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from maskline_coco.fields import is_coordinate, short

from maskline_train.data.convert.files import SUFFIXES, header_size, inside, read_json, tracked
from maskline_train.data.convert.id_masks import read_ids
from maskline_train.data.convert.labelled import (
    BEYOND,
    UNLABELLED,
    Labelled,
    Mask,
    Notes,
    Object,
    Picture,
    check_number,
    class_name,
    of_parts,
    placed,
)
from maskline_train.data.errors import DataError

POLYGONS = ("polygon", "rectangle", "oriented_rectangle")
PIXELS = ("circle", "mask")
WITHOUT_AREA = ("point", "points", "line", "linestrip")
NO_AREA = "shapes without area (point, points, line, linestrip), left out"
# Names that LabelMe's own exporters (examples/instance_segmentation/labelme2coco.py) make no class of.
NO_CLASSES = ("__ignore__", "_background_")
IGNORED = "shapes named __ignore__ or _background_, left out as LabelMe's exporters do"
FROM_DATA = "pictures that only a label file holds, written from its imageData"

Placed = tuple[dict[str, Any], str]  # a shape as it is in the file, and where that is


def read_labelme(source: Path, notes: Notes) -> Labelled:
    """The pictures of a folder and those below it; classes in alphabetical order, for LabelMe has no list of them.

    Raises:
        DataError: no JSON file, a mistake in one, or a picture that is missing.
    """
    paths = sorted(source.rglob("*.json"))
    if not paths:
        source.stat()  # says itself that it is not there
        raise DataError(f"{source}: got no .json file, expected one a picture; is it LabelMe's folder?")
    pictures = [_read_picture(path, source, notes) for path in tracked(paths, "Reading")]
    known = {picture.file_name for picture in pictures}
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.suffix.lower() in SUFFIXES and name not in known:
            pictures.append(Picture(name, path, header_size(path, path, notes), ()))
            notes[UNLABELLED] += 1
    names = {entry.name for picture in pictures for entry in picture.objects}
    return Labelled(tuple(sorted(names)), tuple(pictures))


def _read_picture(path: Path, root: Path, notes: Notes) -> Picture:
    label = read_json(path)
    image = inside(root, path.parent, label.get("imagePath"), path)
    if image.is_file():
        source: Path | Callable[[], bytes] = image
        size = header_size(image, image, notes)
    else:
        source = functools.partial(_picture_in, path, image)
        size = header_size(_image_data(label, path, image), path, notes)
        notes[FROM_DATA] += 1
    said = (label.get("imageHeight"), label.get("imageWidth"))
    if said not in (size, (None, None)):
        raise DataError(
            f"{path}: got imageWidth {short(said[1])} and imageHeight {short(said[0])}, expected {size[1]} and "
            f"{size[0]} as of the upright picture (EXIF orientation applied); label it anew"
        )
    name = image.resolve().relative_to(root.resolve()).as_posix()
    return Picture(name, source, size, _objects(label.get("shapes"), size, path, notes))


def _picture_in(path: Path, image: Path) -> bytes:
    return _image_data(read_json(path), path, image)


def _image_data(label: dict[str, Any], path: Path, image: Path) -> bytes:
    return _decoded(label.get("imageData"), f"{path}: imageData, as there is no {image},")


def _objects(shapes: Any, size: tuple[int, int], path: Path, notes: Notes) -> tuple[Object, ...]:
    if not isinstance(shapes, list):
        raise DataError(f"{path}: got shapes {short(shapes)}, expected a list; is it a label file of LabelMe?")
    check_number(len(shapes), path)
    groups: dict[tuple[str, Any], list[Placed]] = {}
    for index, entry in enumerate(shapes):
        where = f"{path}: shapes[{index}]"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: got {short(entry)}, expected an object; correct it")
        name, group = class_name(entry.get("label"), where), entry.get("group_id")
        if group is not None and not isinstance(group, int):
            raise DataError(f"{where}: got group_id {short(group)}, expected a whole number or null; correct it")
        if name in NO_CLASSES:
            notes[IGNORED] += 1
        elif _has_area(entry.get("shape_type", "polygon"), where, notes):
            groups.setdefault((name, ("alone", index) if group is None else group), []).append((entry, where))
    found = [_object(name, parts, size, notes) for (name, _), parts in groups.items()]
    return tuple(entry for entry in found if entry is not None)


def _object(name: str, shapes: list[Placed], size: tuple[int, int], notes: Notes) -> Object | None:
    """The shapes of one object: polygons where all are, or else the pixels of all, one mask at a time."""
    polygons = [_read_polygon(*shape) for shape in shapes if shape[0].get("shape_type", "polygon") in POLYGONS]
    where = shapes[0][1]
    masks = (_read_pixels(*shape, size, notes) for shape in shapes if shape[0].get("shape_type") in PIXELS)
    return of_parts(name, polygons, masks, size, where, notes)


def _has_area(kind: Any, where: str, notes: Notes) -> bool:
    """Whether shapes of this type have one; notes those that have none."""
    if kind not in POLYGONS + PIXELS + WITHOUT_AREA:
        known = ", ".join(POLYGONS + PIXELS + WITHOUT_AREA)
        raise DataError(f"{where}: got shape_type {short(kind)}, expected one of {known}; draw it anew")
    notes.update({NO_AREA: 1} if kind in WITHOUT_AREA else {})
    return kind not in WITHOUT_AREA


def _read_polygon(entry: dict[str, Any], where: str) -> list[float]:
    if entry.get("shape_type") == "rectangle":
        (x0, y0), (x1, y1) = _read_points(entry.get("points"), 2, where)
        return [x0, y0, x1, y0, x1, y1, x0, y1]
    return [number for point in _read_points(entry.get("points"), None, where) for number in point]


def _read_pixels(entry: dict[str, Any], where: str, size: tuple[int, int], notes: Notes) -> Mask:
    points = _read_points(entry.get("points"), 2, where)
    if entry["shape_type"] == "circle":
        return _circle(points, size, notes)
    return _read_mask(entry.get("mask"), points, size, where, notes)


def _read_points(points: Any, count: int | None, where: str) -> list[list[float]]:
    good = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_coordinate, point)) for point in points
    )
    if not good or count not in (None, len(points)):
        many = "" if count is None else f"{count} "
        raise DataError(f"{where}: got points {short(points)}, expected {many}pairs of x and y in pixels; correct them")
    return list(points)


def _circle(points: list[list[float]], size: tuple[int, int], notes: Notes) -> Mask:
    """The pixels whose centre is within a circle, of its centre and a point on it."""
    (x, y), (rim_x, rim_y) = points
    radius = math.hypot(rim_x - x, rim_y - y)
    height, width = size
    notes[BEYOND] += x - radius < 0 or y - radius < 0 or x + radius > width or y + radius > height
    columns, rows = np.arange(width) + 0.5 - x, np.arange(height) + 0.5 - y
    inside: Mask = np.square(rows)[:, None] + np.square(columns)[None] <= radius * radius
    return inside


def _read_mask(data: Any, points: list[list[float]], size: tuple[int, int], where: str, notes: Notes) -> Mask:
    corners = [round(number) for point in points for number in point]
    left, top, right, bottom = corners
    if corners != [number for point in points for number in point] or right < left or bottom < top:
        raise DataError(f"{where}: got points {short(points)}, expected a mask's first and last pixel; correct them")
    ids = read_ids(_decoded(data, f"{where}: mask"), (bottom - top + 1, right - left + 1), f"{where}: mask")
    return placed(ids != 0, left, top, size, notes)


def _decoded(data: Any, what: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} got {short(data)}, expected a file in base64; add the file") from error
