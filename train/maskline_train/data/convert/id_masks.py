"""Plain instance masks: a PNG of IDs a picture, or one PNG an object.

`SOURCE/images/STEM.*` with `SOURCE/masks/STEM.png`, whose pixels are 0 for the background and a number of its own for
each object; or, as the 2018 Data Science Bowl has it, `SOURCE/NAME/images/*` with `SOURCE/NAME/masks/*.png`, one an
object, 0 outside and one other value inside.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskline_train.data.convert.files import by_stem, check_map_size, find_pictures, header_size, opened_map, tracked
from maskline_train.data.convert.labelled import (
    UNLABELLED,
    Labelled,
    Notes,
    Object,
    Picture,
    check_number,
    class_name,
    of_mask,
)
from maskline_train.data.convert.value_classes import ValueClasses
from maskline_train.data.errors import DataError

Ids = npt.NDArray[np.int32]
NameOf = Callable[[Path, int], str]  # the class of a map's value


def read_masks(source: Path, classes: str | ValueClasses, notes: Notes) -> Labelled:
    """The pictures, all objects of one class, or of those that a file names.

    Args:
        source: in one of the two layouts; with a file of classes in the first.
        classes: the name of the class, or the file.
        notes: filled.

    Raises:
        DataError: neither layout, a mask without a picture, or one of another size or kind.
    """
    images, masks = source / "images", source / "masks"
    is_maps = images.is_dir() and masks.is_dir()
    if isinstance(classes, ValueClasses):
        if not is_maps:
            source.stat()  # says itself that it is not there
            raise DataError(f"{source}: got no images/ and masks/, expected them beside a file of --classes")
        return Labelled(classes.names, tuple(_of_maps(images, masks, classes.name, notes)))
    name = class_name(classes, "--class")
    if is_maps:
        return Labelled((name,), tuple(_of_maps(images, masks, lambda _path, _value: name, notes)))
    folders = sorted(folder.parent for folder in source.glob("*/images"))
    if not folders:
        source.stat()  # says itself that it is not there
        raise DataError(
            f"{source}: got neither images/ and masks/ nor folders with these, expected one of the two; "
            "see docs/data/convert.md"
        )
    return Labelled((name,), tuple(_of_folder(folder, name, notes) for folder in tracked(folders, "Reading")))


def _of_maps(images: Path, masks: Path, name_of: NameOf, notes: Notes) -> list[Picture]:
    pictures = by_stem(find_pictures(images))
    maps = by_stem(sorted(masks.rglob("*.png")))
    if lonely := sorted(set(maps) - set(pictures)):
        raise DataError(f"{maps[lonely[0]]}: got no picture {lonely[0]}.* in {images}, expected one; add or remove it")
    notes.update({UNLABELLED: len(pictures) - len(maps)} if len(pictures) > len(maps) else {})
    found = []
    for stem in tracked(list(pictures), "Reading"):
        path = pictures[stem]
        size = header_size(path, path, notes)
        objects = _objects_of_ids(read_ids(maps[stem], size), maps[stem], name_of, notes) if stem in maps else ()
        found.append(Picture(path.relative_to(images).as_posix(), path, size, objects))
    return found


def _objects_of_ids(ids: Ids, path: Path, name_of: NameOf, notes: Notes) -> tuple[Object, ...]:
    values = [value for value in np.unique(ids).tolist() if value != 0]
    check_number(len(values), path)
    found = [of_mask(name_of(path, value), ids == value, notes) for value in values]
    return tuple(entry for entry in found if entry is not None)


def _of_folder(folder: Path, name: str, notes: Notes) -> Picture:
    pictures = find_pictures(folder / "images")
    if len(pictures) > 1:
        raise DataError(f"{folder / 'images'}: got {len(pictures)} pictures, expected one a folder; move the others")
    path = pictures[0]
    size = header_size(path, path, notes)
    masks = sorted((folder / "masks").glob("*.png"))
    check_number(len(masks), folder)
    notes.update({} if masks else {UNLABELLED: 1})
    objects = [of_mask(name, _read_binary(mask, size), notes) for mask in masks]
    return Picture(path.name, path, size, tuple(entry for entry in objects if entry is not None))


def _read_binary(path: Path, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    ids = read_ids(path, size)
    values = [value for value in np.unique(ids).tolist() if value != 0]
    if len(values) > 1:
        raise DataError(
            f"{path}: got {len(values)} values beside 0, expected one, as of a mask of one object; "
            "is it smoothed, or a map of IDs (images/ and masks/ in one folder)?"
        )
    return np.not_equal(ids, 0)


def read_ids(source: Path | bytes, size: tuple[int, int], name: object = None) -> Ids:
    """The numbers in a PNG of one channel, [H, W] int32; of a palette the index.

    Args:
        source: the PNG, or its bytes.
        size: (height, width) that it must have.
        name: begins the error's text, where there is no path.

    Raises:
        DataError: no whole PNG, colours, or another size.
        OSError: it cannot be opened.
    """
    name = source if name is None else name
    with opened_map(source, name) as image:
        mode = image.mode
        if mode in ("1", "L", "P", "I") or mode.startswith("I;16"):
            check_map_size(name, image, size)
            return np.asarray(image).astype(np.int32)
    raise DataError(f"{name}: got a PNG of mode {mode}, expected one channel of IDs; save it as gray or with a palette")
