"""What the header of an image file says, against the limits and the json: no pixel is decoded, about 0.1 ms a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from maskline_coco.annotation_file import ImageRecord
from maskline_coco.errors import DataError, ImageError
from maskline_coco.image_limits import LIMITS, check_bytes, check_pixels

ORIENTATION_TAG = 0x0112  # of EXIF
SIDES_SWAPPED = (5, 6, 7, 8)  # orientations of pictures whose sides are stored the other way round
_NAMED = 5  # files with a problem that a message names beside the first


def check_headers(folder: Path, records: Iterable[ImageRecord], formats: tuple[str, ...]) -> None:
    """Open the header of each image.

    Args:
        folder: of the images.
        records: what the json says of them.
        formats: the ones that are taken, as Pillow names them.

    Raises:
        DataError: as `raise_problems`.
    """
    raise_problems(header_problem(folder / record.file_name, record, formats) for record in records)


def header_problem(path: Path, record: ImageRecord, formats: tuple[str, ...]) -> str:
    """Why an image cannot be used, in one line; "" where its header is good."""
    try:
        check_bytes(str(path), path.stat().st_size, LIMITS)
        with Image.open(path, formats=formats) as image:
            check_pixels(str(path), image.size, LIMITS)
            width, height = upright_size(image)
    except ImageError as error:
        return str(error)
    except PermissionError:
        return f"{path}: permission denied, expected an image that this user may read; change its mode or owner"
    except Exception as error:  # Pillow's readers raise anything on a broken header
        return f"{path}: not a {', '.join(formats)} file ({error}); replace it or remove it from the data set"
    return size_problem(path, (height, width), record)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an image once its EXIF orientation is applied; EXIF that cannot be read counts as none."""
    try:
        swapped = image.getexif().get(ORIENTATION_TAG, 1) in SIDES_SWAPPED
    except Exception:  # any error of its parser; the pixels are readable all the same
        swapped = False
    return (image.height, image.width) if swapped else (image.width, image.height)


def size_problem(path: Path, size: tuple[int, int], record: ImageRecord) -> str:
    """The line about an image whose (height, width) is not the json's; "" where it is."""
    if size == (record.height, record.width):
        return ""
    return (
        f"{path}: got {size[1]}x{size[0]} pixels (EXIF orientation applied), expected {record.width}x{record.height} "
        f"as the json says for image id {record.id}; correct width and height, or the image"
    )


def raise_problems(problems: Iterable[str]) -> None:
    """Raise where an image has a problem.

    Args:
        problems: a line an image, which begins with its path; "" of a good one.

    Raises:
        DataError: the first problem whole, the files of some others, and how many there are.
    """
    total, found = 0, []
    for problem in problems:
        total += 1
        found += [problem] if problem else []
    if not found:
        return
    others = ", ".join(problem.split(": ")[0] for problem in found[1 : 1 + _NAMED])
    more = ", ..." if len(found) > 1 + _NAMED else ""
    also = f"; also {others}{more}" if others else ""
    raise DataError(f"{found[0]} ({len(found)} of {total} images have such a problem{also})")
