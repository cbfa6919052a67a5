"""From what a user has (path, bytes, array, Pillow image) to the bytes of an image file, checked before sending."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from maskline_client.errors import InvalidImage

ImageSource = str | Path | bytes | Image.Image | npt.NDArray[Any]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")  # looked for in folders; a single file may have any name
_HEAD_BYTES = 12  # holds the longest signature, WebP's
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # Pillow writes these without loss


def encode(source: ImageSource) -> bytes:
    """The bytes of a JPEG, PNG or WebP file for any kind of source.

    Args:
        source: a path; the bytes of a file; a Pillow image (turned upright by its EXIF orientation, sent as PNG); or
            an array (sent as PNG): [H, W, 3] uint8 RGB, [H, W, 4] uint8 RGBA, [H, W] uint8 or uint16 gray.

    Raises:
        InvalidImage: no such file, a folder, another file format, or an array of another shape or type.
    """
    if isinstance(source, bytes):
        check_signature(source[:_HEAD_BYTES], "the given bytes")
        return source
    if isinstance(source, np.ndarray):
        return _encode_array(source)
    if isinstance(source, Image.Image):
        return _encode_image(source)
    return read_file(Path(source))


def read_file(path: Path) -> bytes:
    """The bytes of an image file; its signature is checked before the rest is read.

    Raises:
        InvalidImage: no such file, a folder, unreadable, or not JPEG, PNG or WebP.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            check_signature(head, str(path))
            return head + file.read()
    except FileNotFoundError:
        raise InvalidImage(f"{path}: got no such file, expected an image; check the name") from None
    except IsADirectoryError:
        raise InvalidImage(f"{path}: got a folder, expected an image file; name the files in it") from None
    except OSError as error:
        raise InvalidImage(f"{path}: cannot be read ({error.strerror}), expected an image file") from error


def check_signature(head: bytes, what: str) -> None:
    """Raise InvalidImage unless the first 12 bytes of a file are those of a JPEG, PNG or WebP file."""
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or is_webp:
        return
    got = f"a file that begins with {head!r}" if head else "an empty file"
    raise InvalidImage(f"{what}: got {got}, expected JPEG, PNG or WebP; convert it first")


def list_images(folder: Path) -> list[Path]:
    """Image files in a folder and below, by name; hidden files and folders are left out.

    Raises:
        InvalidImage: no image in it.
    """
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise InvalidImage(f"{folder}: got a folder without images, expected some of {', '.join(SUFFIXES)} in it")
    return found


def decode_rgb(data: bytes) -> Image.Image:
    """The 8-bit RGB picture that the server sees: upright, alpha over black, 16-bit gray scaled by 1/257.

    Raises:
        InvalidImage: the file does not decode.
    """
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.mode.startswith("I") or image.mode == "F":
            gray = np.clip(np.asarray(image, np.float64) / 257 + 0.5, 0, 255).astype(np.uint8)
            return Image.fromarray(gray).convert("RGB")
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            rgba = image.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
        return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"the image does not decode ({error}), expected a whole JPEG, PNG or WebP file") from error


def _encode_array(array: npt.NDArray[Any]) -> bytes:
    """A PNG of an array."""
    gray = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    colour = array.ndim == 3 and array.shape[2] in (3, 4) and array.dtype == np.uint8
    if not (gray or colour) or array.size == 0:
        raise InvalidImage(
            f"array: got shape {list(array.shape)} {array.dtype}, expected [H, W, 3] or [H, W, 4] uint8 (RGB, RGBA) "
            "or [H, W] uint8 or uint16; convert floats with (x * 255).astype(np.uint8)"
        )
    return _png(Image.fromarray(np.ascontiguousarray(array)))


def _encode_image(image: Image.Image) -> bytes:
    """A PNG of a Pillow image, upright."""
    try:
        upright = ImageOps.exif_transpose(image)
        return _png(upright if upright.mode in _PNG_MODES else upright.convert("RGB"))
    except (OSError, ValueError) as error:
        raise InvalidImage(f"Pillow image of mode {image.mode}: cannot be written as PNG ({error})") from error


def _png(image: Image.Image) -> bytes:
    """The bytes of a PNG; level 1, since the time to compress counts more than the bytes on a loopback."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()
