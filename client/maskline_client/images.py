"""From what a user has (path, bytes, array, Pillow image) to the bytes of an image file, checked before sending."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_client.errors import InvalidImage

ImageSource = str | Path | bytes | Image.Image | npt.NDArray[Any]

FORMATS = ("JPEG", "PNG", "WEBP")  # as Pillow names what the server takes; its other readers are never tried
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")  # looked for in folders; a single file may have any name
_HEAD_BYTES = 12  # holds the longest signature, WebP's
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # Pillow writes these without loss
# What Pillow raises on files that are broken or too large; SyntaxError is its word for a broken PNG.
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_STRIP_ROWS = 64  # of at most 20 000 px: 10 MB as float64
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {  # EXIF orientation -> how the stored picture is turned upright; 1, and anything unknown: as it is
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def encode(source: ImageSource) -> bytes:
    """The bytes of a JPEG, PNG or WebP file for any kind of source.

    Args:
        source: a path; the bytes of a file; a Pillow image (turned upright by its EXIF orientation, sent as PNG; the
            values of its 16-bit, integer and float modes count as 0..65535); or an array (sent as PNG): [H, W, 3] uint8
            RGB, [H, W, 4] uint8 RGBA, [H, W] uint8 or uint16 gray.

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
    """Image files in a folder and below, linked folders too, by name; hidden files and folders are left out.

    Raises:
        InvalidImage: no image in it, or a folder that cannot be read.
    """
    try:
        found = sorted(_images_below(folder, ()))
    except PermissionError as error:
        raise InvalidImage(
            f"{error.filename}: permission denied, expected a folder that this user may read; change its mode, or name "
            "the folders beside it"
        ) from error
    if not found:
        raise InvalidImage(f"{folder}: got a folder without images, expected some of {', '.join(SUFFIXES)} in it")
    return found


def _images_below(folder: Path, around: tuple[Path, ...]) -> Iterator[Path]:
    """Image files in a folder and below; `around`: the folders on the way here, none of which is entered again.

    A link to nothing is among them: its reader says so.
    """
    here = folder.resolve()
    for path in [] if here in around else folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _images_below(path, (*around, here))
        elif path.suffix.lower() in SUFFIXES and (path.is_file() or path.is_symlink()):
            yield path


def decode_rgb(data: bytes) -> Image.Image:
    """The 8-bit RGB picture that the server sees: upright, alpha over black, 16-bit gray scaled by 1/257.

    `tests/contract/test_client_contract.py` compares it with the server's, bit by bit.

    Raises:
        InvalidImage: not a JPEG, PNG or WebP file, or it does not decode.
    """
    check_signature(data[:_HEAD_BYTES], "the image")
    try:
        image = _upright(Image.open(io.BytesIO(data), formats=FORMATS))
        if _is_deep(image):
            return _by_strips(image, "RGB", _eight_bit)
        if image.has_transparency_data:
            return _by_strips(image, "RGB", _over_black)
        return image if image.mode == "RGB" else image.convert("RGB")
    except _BROKEN as error:
        raise InvalidImage(f"the image does not decode ({error}), expected a whole JPEG, PNG or WebP file") from error


def is_turned(data: bytes) -> bool:
    """Whether a file is stored otherwise than upright, so that its EXIF turns it.

    Raises:
        InvalidImage: it does not decode.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        return _upright(image) is not image
    except _BROKEN as error:
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
        upright = _upright(image)
        if upright.mode in _PNG_MODES:
            return _png(upright)
        if _is_deep(upright):
            return _png(_by_strips(upright, "L", _eight_bit))
        return _png(upright.convert("RGBA" if upright.has_transparency_data else "RGB"))
    except _BROKEN as error:
        raise InvalidImage(f"Pillow image of mode {image.mode}: cannot be written as PNG ({error})") from error


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; EXIF that cannot be read counts as none, as on the server.

    Not `ImageOps.exif_transpose`: it writes the remaining EXIF anew, which fails on odd tags.
    """
    image.load()
    try:
        method = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a broken block raises struct.error, SyntaxError, ...
        return image
    return image if method is None else image.transpose(method)


def _is_deep(image: Image.Image) -> bool:
    """Whether the picture is gray of more than 8 bits; Pillow would cut its values at 255."""
    return image.mode.startswith("I") or image.mode == "F"


def _by_strips(image: Image.Image, mode: str, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """A picture made some rows at a time, as on the server: what `convert` holds meanwhile is small."""
    whole = Image.new(mode, image.size)
    for top in range(0, image.height, _STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _over_black(image: Image.Image) -> Image.Image:
    """What has transparency over opaque black."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit gray (in any of Pillow's modes for it) as 8-bit gray, by the server's rule."""
    values = np.floor(np.asarray(image, np.float64) / 257 + 0.5)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    """The bytes of a PNG; level 1, since the time to compress counts more than the bytes on a loopback."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1, exif=b"")  # an orientation left in it would turn the picture again
    return out.getvalue()
