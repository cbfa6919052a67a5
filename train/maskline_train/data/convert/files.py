"""The files of a data set that somebody else wrote: found, kept inside their folder, looked at before they are read."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

from maskline_coco.fields import short
from maskline_coco.image_headers import ORIENTATION_TAG, upright_size
from maskline_coco.image_limits import LIMITS, check_bytes, check_pixels
from maskline_command.console import progress
from PIL import Image

from maskline_train.data.convert.labelled import Notes
from maskline_train.data.errors import DataError, broken_files
from maskline_train.data.images import FORMATS

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
TURNED = "pictures with an EXIF orientation; their labels were taken as those of the upright picture"
# A label file with its picture in base64 (4 bytes for 3) of the largest picture that is taken, and shapes beside it.
MAX_LABEL_BYTES = 2 * LIMITS.max_bytes

Item = TypeVar("Item")


def find_pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and below it, by their endings, ordered by name.

    Raises:
        DataError: none.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(f"{folder}: got no picture, expected files ending in {', '.join(SUFFIXES)}; check the folder")
    return found


def by_stem(paths: Iterable[Path], folder: Path | None = None) -> dict[str, Path]:
    """Name without ending -> path; the name has the folders below `folder`, or none.

    Raises:
        DataError: two with the same.
    """
    found: dict[str, Path] = {}
    for path in paths:
        name = path.stem if folder is None else path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{path}: got the name of {found[name]} too, expected each name once; rename one")
        found[name] = path
    return found


def inside(root: Path, folder: Path, name: Any, where: object) -> Path:
    """The path that a label file names, from `folder` on; a backslash is read as a slash.

    Raises:
        DataError: no text, or it leaves `root`.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError(f"{where}: got the path {short(name)}, expected the name of a file; correct it")
    path = folder / PureWindowsPath(name).as_posix()
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{where}: got the path {short(name)}, expected one inside {root}; correct it")
    return path


def first_file(paths: Iterable[Path]) -> Path | None:
    """The first of the paths where a file is; None of none."""
    return next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113 -- pathlib's raises of a name that is too long


@contextlib.contextmanager
def opened(
    source: Path | bytes, name: object, formats: tuple[str, ...], say: Callable[[Exception], str]
) -> Iterator[Image.Image]:
    """A picture of a file or of its bytes, within the limits; nothing of it is decoded yet.

    Args:
        source: the file, or its bytes.
        name: begins the text of an error.
        formats: of Pillow.
        say: as of `broken_files`, in which the picture may be decoded too.

    Raises:
        DataError: no picture.
        ImageError: beyond the limits.
        OSError: it cannot be opened.
    """
    check_bytes(str(name), len(source) if isinstance(source, bytes) else source.stat().st_size, LIMITS)
    with (
        broken_files(say),
        Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image,
    ):
        check_pixels(str(name), image.size, LIMITS)
        yield image


@contextlib.contextmanager
def opened_map(source: Path | bytes, name: object) -> Iterator[Image.Image]:
    """A PNG whose pixels say of which object they are; nothing of it is decoded yet.

    Raises:
        DataError, ImageError, OSError: as `opened`.
    """

    def say(error: Exception) -> str:
        return f"{name}: cannot be read ({error}); expected a whole PNG file; make it anew"

    with opened(source, name, ("PNG",), say) as image:
        yield image


def check_map_size(name: object, image: Image.Image, size: tuple[int, int]) -> None:
    """Refuse a map that is not of the size (height, width) of its picture.

    Raises:
        DataError: another size.
    """
    if (image.height, image.width) != size:
        raise DataError(
            f"{name}: got {image.width}x{image.height} pixels, expected {size[1]}x{size[0]}, a picture's once its EXIF "
            "orientation is applied; make it anew"
        )


def header_size(source: Path | bytes, name: object, notes: Notes) -> tuple[int, int]:
    """(height, width) of an upright picture, by its header; notes one that has an EXIF orientation.

    Raises:
        DataError: no picture, or beyond the limits.
        OSError: it cannot be opened.
    """
    kinds = ", ".join(FORMATS)

    def say(error: Exception) -> str:
        if isinstance(error, OSError):
            return f"{name}: not a {kinds} file; replace it"
        return f"{name}: not a whole {kinds} file ({error}); replace it"

    with opened(source, name, FORMATS, say) as image:
        width, height = upright_size(image)
        notes.update({TURNED: 1} if _is_turned(image) else {})
    return height, width


def read_label(path: Path) -> bytes:
    """The bytes of a label file.

    Raises:
        DataError: larger than any is.
        OSError: it cannot be read.
    """
    if (num_bytes := path.stat().st_size) > MAX_LABEL_BYTES:
        raise DataError(f"{path}: got {num_bytes} bytes, expected at most {MAX_LABEL_BYTES}; is it a label file?")
    return path.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        DataError: not whole, no JSON, or no object.
        OSError: it cannot be read.
    """
    try:
        value = json.loads(read_label(path))
    except DataError:
        raise
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, lists a thousand deep
        raise DataError(f"{path}: not a whole JSON file ({error}); copy it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: got {short(value)}, expected a JSON object; is it a label file?")
    return value


def tracked(items: Sequence[Item], doing: str) -> Iterator[Item]:
    """The items, under a bar."""
    with progress() as bar:
        yield from bar.track(items, description=doing)


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1) in range(2, 9)
    except Exception:  # any error of its parser; such a block counts as none, as in training
        return False
