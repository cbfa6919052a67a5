"""Pascal VOC's instance segmentation, as the challenge has it and as Datumaro and CVAT export it.

`JPEGImages/NAME.*`; `SegmentationObject/NAME.png`, a colour an object; `SegmentationClass/NAME.png`, a colour a class,
named by `labelmap.txt` (`name:r,g,b:parts:actions`) or else VOC's 21; `ImageSets/Segmentation/{train,val,test}.txt`,
the NAMEs of each split. Black is background; void, (224, 224, 192), is the border of objects, which is nobody's.

Colours are compared as whole numbers R * 65536 + G * 256 + B. H W the picture.
Ref: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from maskline_coco.fields import short

from maskline_train.data.convert.files import (
    SUFFIXES,
    by_stem,
    check_map_size,
    header_size,
    opened_map,
    read_label,
    tracked,
)
from maskline_train.data.convert.labelled import (
    SPLITS,
    UNLABELLED,
    Labelled,
    Notes,
    Object,
    Picture,
    check_number,
    class_name,
    of_mask,
)
from maskline_train.data.errors import DataError

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
BACKGROUND, VOID = 0, 0xE0E0C0  # colours

MIXED = "objects with pixels of another colour than their class's (void apart); the class of most was taken"
ELSEWHERE = "pictures in no split, left out"

Colours = npt.NDArray[np.int32]


def read_voc(source: Path, notes: Notes) -> Labelled:
    """The pictures of the splits, or of `SegmentationObject` where there are none; classes as `labelmap.txt` has them.

    Raises:
        DataError: no masks, a mistake in `labelmap.txt`, a map without its picture, an object without a class.
    """
    for name in ("JPEGImages", "SegmentationObject", "SegmentationClass"):
        if not (source / name).is_dir():
            source.stat()  # says itself that it is not there
            hint = "its Annotations/ are boxes, which hold no mask; " if (source / "Annotations").is_dir() else ""
            raise DataError(
                f"{source}: got no {name}/, expected JPEGImages/, SegmentationObject/ and SegmentationClass/; "
                f"{hint}export it as VOC segmentation"
            )
    names = _read_names(source / "labelmap.txt")
    folder = source / "JPEGImages"
    images = by_stem((path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES), folder)
    labelled = {
        path.relative_to(source / "SegmentationObject").with_suffix("").as_posix()
        for path in (source / "SegmentationObject").rglob("*.png")
    }
    if lonely := sorted(labelled - set(images)):
        raise DataError(f"{source}: got no picture {lonely[0]}.* in JPEGImages/ for its mask, expected one; add it")
    splits = _read_splits(source) or dict.fromkeys(sorted(labelled), "")
    notes[ELSEWHERE] += len(labelled - set(splits))
    pictures = []
    for name in tracked(list(splits), "Reading"):
        if name not in images:
            raise DataError(f"{source}: got no picture {short(name)} in JPEGImages/, expected it; see ImageSets/")
        pictures.append(_read_picture(name, images[name], source, splits[name], names, notes))
    return Labelled(tuple(names.values()), tuple(pictures))


def voc_colour(index: int) -> int:
    """VOC's colour of class or object `index`: its bits, three at a time, from the highest bits of R, G and B down."""
    bits = [(index >> place) & 1 for place in range(9)]
    return sum(bits[3 * step + channel] << (7 - step + 8 * (2 - channel)) for step in range(3) for channel in range(3))


def _read_names(path: Path) -> dict[int, str]:
    """Colour -> class, in their order; background, whatever its colour, and void are none."""
    if not path.is_file():
        return {voc_colour(index): name for index, name in enumerate(CLASSES) if name != "background"}
    lines = [(row, line.strip()) for row, line in enumerate(_lines(path, "name:r,g,b::"), 1)]
    kept = [(row, line) for row, line in lines if line and not line.startswith("#")]
    names: dict[int, str] = {}
    for index, (row, line) in enumerate(kept):
        where = f"{path}: line {row}"
        name, _, rest = line.partition(":")
        colour = _read_colour(rest.partition(":")[0], index, where)
        if colour in names or name in names.values():
            raise DataError(f"{where}: got {short(line)}, expected each name and each colour once; correct it")
        names[colour] = class_name(name, where)
    return {colour: name for colour, name in names.items() if name != "background" and colour not in (BACKGROUND, VOID)}


def _lines(path: Path, each: str) -> list[str]:
    try:
        return read_label(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); expected {each} in each line; write it anew") from error


def _read_colour(text: str, index: int, where: str) -> int:
    """The colour of a line; VOC's own of its place where it says none, as Datumaro means it."""
    if not text:
        return voc_colour(index)
    values = [int(value) if value.isdecimal() and len(value) < 4 else 256 for value in text.split(",")]
    if len(values) != 3 or max(values) > 255:
        raise DataError(f"{where}: got the colour {short(text)}, expected r,g,b of 0 to 255; correct it")
    return values[0] << 16 | values[1] << 8 | values[2]


def _read_splits(source: Path) -> dict[str, str]:
    """Picture -> split; empty where no file of a split is there."""
    found: dict[str, str] = {}
    for split in SPLITS:
        path = source / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not path.is_file():
            continue
        for name in filter(None, map(str.strip, _lines(path, "a name"))):
            if found.setdefault(name, split) != split:
                raise DataError(
                    f"{path}: got {short(name)}, which is in {found[name]} too, expected it once; remove it"
                )
    return found


def _read_picture(name: str, path: Path, source: Path, split: str, names: dict[int, str], notes: Notes) -> Picture:
    size = header_size(path, path, notes)
    maps = [source / folder / f"{name}.png" for folder in ("SegmentationObject", "SegmentationClass")]
    objects: tuple[Object, ...] = ()
    if maps[0].is_file():
        objects = _read_objects(_read_colours(maps[0], size), _read_colours(maps[1], size), maps, names, notes)
    else:
        notes[UNLABELLED] += 1
    return Picture(path.relative_to(source / "JPEGImages").as_posix(), path, size, objects, split)


def _read_objects(
    colours: Colours, classes: Colours, maps: list[Path], names: dict[int, str], notes: Notes
) -> tuple[Object, ...]:
    values = [value for value in np.unique(colours).tolist() if value not in (BACKGROUND, VOID)]
    check_number(len(values), maps[0])
    found = []
    for value in values:
        mask = colours == value
        found.append(of_mask(_class_of(classes[mask], value, maps, names, notes), mask, notes))
    return tuple(entry for entry in found if entry is not None)


def _class_of(pixels: Colours, value: int, maps: list[Path], names: dict[int, str], notes: Notes) -> str:
    """The class of most of an object's pixels; those of no class do not count."""
    colours, counts = np.unique(pixels, return_counts=True)
    votes = {c: n for c, n in zip(colours.tolist(), counts.tolist(), strict=True) if c in names}
    if not votes:
        raise DataError(
            f"{maps[0]}: got the object {_rgb(value)}, which is {_rgb(colours[0])} in {maps[1]}, expected a "
            "class's colour, of labelmap.txt or else of VOC; correct that map or add the class"
        )
    notes[MIXED] += len(set(colours.tolist()) - {VOID}) > 1
    return names[max(votes, key=lambda colour: votes[colour])]


def _rgb(colour: int) -> str:
    return f"({colour >> 16}, {colour >> 8 & 255}, {colour & 255})"


def _read_colours(path: Path, size: tuple[int, int]) -> Colours:
    """A map's colours, [H, W] int32; a palette is looked up, a gray value is VOC's number of a colour."""
    with opened_map(path, path) as image:
        check_map_size(path, image, size)
        if image.mode == "L":
            table: Colours = np.array([voc_colour(value) for value in range(256)], np.int32)  # 255 is void
            numbered: Colours = table[np.asarray(image)]
            return numbered
        if image.mode not in ("P", "RGB"):
            raise DataError(f"{path}: got a PNG of mode {image.mode}, expected colours or a palette; save it so")
        rgb = np.asarray(image.convert("RGB")).astype(np.int32)
    colours: Colours = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    return colours
