"""What is refused of an image file before a pixel is decoded: bytes, pixels, sides. The server has the same limits."""

from __future__ import annotations

import dataclasses

from maskline_coco.errors import ImageError


@dataclasses.dataclass(frozen=True)
class ImageLimits:
    """What is refused before a pixel is decoded."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side_px: int = 20_000


LIMITS = ImageLimits()


def check_bytes(name: str, num_bytes: int, limits: ImageLimits) -> None:
    """Refuse an empty file and one of too many bytes.

    Raises:
        ImageError: the text begins with `name`.
    """
    if num_bytes == 0:
        raise ImageError(f"{name}: got an empty file, expected an image; replace it")
    if num_bytes > limits.max_bytes:
        raise ImageError(f"{name}: got {num_bytes} bytes, expected at most {limits.max_bytes}; make it smaller")


def check_pixels(name: str, size: tuple[int, int], limits: ImageLimits) -> None:
    """Refuse an image of too many pixels, by its header.

    Args:
        name: begins the error's text.
        size: (width, height), as Pillow has it.
        limits: what is allowed.

    Raises:
        ImageError: no pixel, or too many.
    """
    width, height = size
    if min(size) < 1:
        raise ImageError(f"{name}: got {width}x{height} pixels, expected at least 1x1; replace it")
    if width * height > limits.max_pixels or max(size) > limits.max_side_px:
        raise ImageError(
            f"{name}: got {width}x{height} pixels, expected at most {limits.max_pixels} pixels and "
            f"{limits.max_side_px} a side; make it smaller"
        )
