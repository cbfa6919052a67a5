"""CVAT's own export, "CVAT for images 1.1": an XML file of all pictures, or one a subset, and `images/`.

Pixel i covers [i, i + 1). Shapes of one label and one `group_id`, 0 apart, are one object. A `mask` has run lengths
row by row within `left`, `top`, `width` and `height`, of 0 first.

H W the picture.
Ref: https://docs.cvat.ai/docs/other/xml_format
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

import numpy as np
from maskline_coco.fields import is_coordinate, short

from maskline_train.data.convert.files import first_file, header_size, inside, read_label, tracked
from maskline_train.data.convert.labelled import (
    BEYOND,
    Labelled,
    Mask,
    Notes,
    Object,
    Picture,
    check_number,
    class_name,
    of_parts,
    placed,
    split_of,
)
from maskline_train.data.errors import DataError

POLYGONS, PIXELS = ("polygon", "box"), ("mask", "ellipse")
WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton", "tag")
NO_AREA = f"shapes without a mask ({', '.join(WITHOUT_AREA)}), left out"
BOXES = "boxes, taken as objects that fill them"
MAX_DEPTH = 20  # of elements; CVAT's files have 6
MAX_DIGITS = 9  # of a run; no picture that is taken has more pixels

Size = tuple[int, int]


def read_cvat(source: Path, notes: Notes) -> Labelled:
    """The pictures of all XML files of a folder; classes as its labels have them.

    Raises:
        DataError: no XML file, a mistake in one, or a picture that is missing.
    """
    paths = sorted(source.glob("*.xml"))
    if not paths:
        source.stat()  # says itself that it is not there
        raise DataError(f"{source}: got no .xml file, expected annotations.xml; export it as CVAT for images 1.1")
    classes: dict[str, None] = {}
    pictures: list[Picture] = []
    for path in paths:
        root = _read_xml(path)
        names = [class_name(entry.findtext("name"), f"{path}: labels") for entry in root.iterfind("meta//labels/label")]
        if not names:
            raise DataError(f"{path}: got no labels in meta, expected those of the task; export it anew")
        classes |= dict.fromkeys(names)
        images = root.findall("image")
        pictures += [_read_picture(entry, path, tuple(names), notes) for entry in tracked(images, "Reading")]
    if not pictures:
        raise DataError(f"{source}: got no image in {paths[0].name}, expected some; is it CVAT for images 1.1?")
    if len({bool(picture.split) for picture in pictures}) > 1:
        lonely = next(picture.file_name for picture in pictures if not picture.split)
        raise DataError(
            f"{source}: got {short(lonely)} in no subset of train, validation or test beside others in one, expected "
            "all of them or none; give it a subset"
        )
    return Labelled(tuple(classes), tuple(pictures))


def _read_xml(path: Path) -> Element:
    """The root of a file, which is looked through first: no entity of its own, no nesting without end."""
    data = read_label(path)
    depth = 0

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise DataError(f"{path}: got elements {depth} deep, expected at most {MAX_DEPTH}; is it CVAT's?")

    def end(*_: object) -> None:
        nonlocal depth
        depth -= 1

    def doctype(*_: object) -> None:
        raise DataError(f"{path}: got a DOCTYPE, expected none, as CVAT writes none; remove it")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, doctype
    try:
        parser.Parse(data, True)
        root = ElementTree.fromstring(data)
    except DataError:
        raise
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:  # an encoding it has not
        raise DataError(f"{path}: not a whole XML file ({error}); export it anew") from error
    if root.tag != "annotations" or root.find("track") is not None:
        raise DataError(
            f"{path}: got {'tracks' if root.tag == 'annotations' else short(root.tag)}, expected annotations of "
            "images; export it as CVAT for images 1.1"
        )
    return root


def _read_picture(entry: Element, path: Path, names: tuple[str, ...], notes: Notes) -> Picture:
    name, subset = entry.get("name", ""), entry.get("subset", "")
    where = f"{path}: image {short(name)}"
    roots = (path.parent / "images" / subset, path.parent / "images", path.parent)
    places = [inside(path.parent, root, name, where) for root in roots]
    picture = first_file(places)
    if picture is None:
        raise DataError(f"{where}: got no such file in {path.parent / 'images'}, expected it; export with images")
    size = header_size(picture, picture, notes)
    said = _numbers(entry, ("height", "width"), where)
    if said != [*size]:
        raise DataError(
            f"{where}: got {said[1]:g}x{said[0]:g}, expected {size[1]}x{size[0]}, the picture's once its EXIF "
            "orientation is applied; export it anew"
        )
    split = split_of(subset or path.stem)
    return Picture(name.replace("\\", "/"), picture, size, _objects(entry, size, names, where, notes), split)


def _objects(image: Element, size: Size, names: tuple[str, ...], where: str, notes: Notes) -> tuple[Object, ...]:
    check_number(len(image), where)
    groups: dict[tuple[str, str], list[Element]] = {}
    for index, entry in enumerate(image):
        if entry.tag in WITHOUT_AREA:
            notes[NO_AREA] += 1
            continue
        if entry.tag not in POLYGONS + PIXELS:
            known = ", ".join(POLYGONS + PIXELS + WITHOUT_AREA)
            raise DataError(f"{where}: got {short(entry.tag)}, expected one of {known}; draw it anew")
        name, group = entry.get("label", ""), entry.get("group_id", "0")
        if name not in names:
            raise DataError(f"{where}: got the label {short(name)}, expected one of {', '.join(names)}; export it anew")
        notes[BOXES] += entry.tag == "box"
        groups.setdefault((name, f"alone {index}" if group == "0" else group), []).append(entry)
    found = [_object(name, shapes, size, where, notes) for (name, _), shapes in groups.items()]
    return tuple(entry for entry in found if entry is not None)


def _object(name: str, shapes: list[Element], size: Size, where: str, notes: Notes) -> Object | None:
    polygons = [_read_polygon(entry, where) for entry in shapes if entry.tag in POLYGONS]
    masks = (_read_pixels(entry, size, where, notes) for entry in shapes if entry.tag in PIXELS)
    return of_parts(name, polygons, masks, size, where, notes)


def _numbers(entry: Element, names: tuple[str, ...], where: str) -> list[float]:
    return [_number(entry.get(name, ""), f"{where}: {entry.tag} {name}") for name in names]


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not is_coordinate(value):
        raise DataError(f"{where}: got {short(text)}, expected a number of pixels; correct it")
    return value


def _read_polygon(entry: Element, where: str) -> list[float]:
    if entry.tag == "polygon":
        points = [point.split(",") for point in entry.get("points", "").split(";")]
        if any(len(point) != 2 for point in points):
            raise DataError(f"{where}: got points {short(entry.get('points'))}, expected x,y;x,y;...; correct them")
        return [_number(text, f"{where}: polygon") for point in points for text in point]
    x0, y0, x1, y1 = _numbers(entry, ("xtl", "ytl", "xbr", "ybr"), where)
    x, y, cos, sin = (x0 + x1) / 2, (y0 + y1) / 2, *_turn(entry, where)
    corners = ((x0 - x, y0 - y), (x1 - x, y0 - y), (x1 - x, y1 - y), (x0 - x, y1 - y))
    return [value for dx, dy in corners for value in (x + dx * cos - dy * sin, y + dx * sin + dy * cos)]


def _turn(entry: Element, where: str) -> tuple[float, float]:
    """Cosine and sine of `rotation`, in degrees, clockwise as x goes right and y down."""
    angle = math.radians(_number(entry.get("rotation", "0"), f"{where}: rotation"))
    return math.cos(angle), math.sin(angle)


def _read_pixels(entry: Element, size: Size, where: str, notes: Notes) -> Mask:
    return _ellipse(entry, size, where, notes) if entry.tag == "ellipse" else _read_mask(entry, size, where, notes)


def _ellipse(entry: Element, size: Size, where: str, notes: Notes) -> Mask:
    """The pixels whose centre is within an ellipse."""
    x, y, across, down = _numbers(entry, ("cx", "cy", "rx", "ry"), where)
    if min(across, down) <= 0:
        raise DataError(f"{where}: got an ellipse of {across:g} and {down:g}, expected radii above 0; draw it anew")
    cos, sin = _turn(entry, where)
    half_width, half_height = math.hypot(across * cos, down * sin), math.hypot(across * sin, down * cos)
    notes[BEYOND] += min(x - half_width, y - half_height, size[1] - x - half_width, size[0] - y - half_height) < 0
    rows, columns = np.ogrid[: size[0], : size[1]]
    dx, dy = columns + 0.5 - x, rows + 0.5 - y
    inside: Mask = ((dx * cos + dy * sin) / across) ** 2 + ((dy * cos - dx * sin) / down) ** 2 <= 1
    return inside


def _read_mask(entry: Element, size: Size, where: str, notes: Notes) -> Mask:
    values = _numbers(entry, ("left", "top", "width", "height"), where)
    left, top, width, height = map(int, values)
    if [left, top, width, height] != values or not (0 < width <= size[1] and 0 < height <= size[0]):
        raise DataError(
            f"{where}: got a mask of {short(values)}, expected whole pixels, within {size[1]}x{size[0]}; draw it anew"
        )
    runs = _read_runs(entry.get("rle", ""), where)
    if sum(runs) != width * height:
        raise DataError(f"{where}: got an rle of {sum(runs)} pixels, expected {width * height}; export it anew")
    pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return placed(pixels, left, top, size, notes)


def _read_runs(text: str, where: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdecimal() and len(word) <= MAX_DIGITS for word in words):
        raise DataError(f"{where}: got the rle {short(text)}, expected whole numbers and commas; export it anew")
    return [int(word) for word in words]
