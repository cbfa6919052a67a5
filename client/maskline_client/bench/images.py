"""The images a benchmark sends: real files from a folder, read once, sent as they are."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from PIL import Image

from maskline_client.errors import InvalidImage
from maskline_client.images import FORMATS, SUFFIXES, read_file


@dataclasses.dataclass(frozen=True)
class BenchImage:
    """One image file in memory.

    Attributes:
        name: the file's name.
        data: the file's bytes, sent unchanged.
        height: in pixels, as stored (before EXIF orientation).
        width: in pixels, as stored.
    """

    name: str
    data: bytes
    height: int
    width: int


def load_images(folder: Path) -> tuple[BenchImage, ...]:
    """Read every JPEG, PNG and WebP file of a folder, in the order of their names.

    Raises:
        ValueError: no folder, no image in it, or a file that is not an image; the text names it.
    """
    if not folder.is_dir():
        raise ValueError(f"--images {folder}: got no folder of that name, expected one with JPEG, PNG or WebP files")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"--images {folder}: got no {', '.join(SUFFIXES)} file in it, expected at least one")
    return tuple(_load_image(path) for path in paths)


def _load_image(path: Path) -> BenchImage:
    """Read one file; its header is parsed for the size, its pixels are not decoded."""
    try:
        data = read_file(path)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except InvalidImage as error:
        raise ValueError(f"--images: {error}, or take it out of the folder") from error
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"--images: {path} is not a readable image ({error}); take it out of the folder") from error
    return BenchImage(path.name, data, height, width)


def describe_images(images: tuple[BenchImage, ...]) -> dict[str, float | int | str]:
    """Count and range of sizes of a set, for the results and the report."""
    pixels = [image.height * image.width for image in images]
    smallest = images[pixels.index(min(pixels))]
    largest = images[pixels.index(max(pixels))]
    return {
        "count": len(images),
        "smallest": f"{smallest.height}x{smallest.width}",
        "largest": f"{largest.height}x{largest.width}",
        "mean_megapixels": round(sum(pixels) / len(pixels) / 1e6, 4),
        "mean_kilobytes": round(sum(len(image.data) for image in images) / len(images) / 1e3, 2),
    }
