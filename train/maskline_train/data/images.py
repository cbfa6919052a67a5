"""From an image file to pixels: the reference for training, verification and the server.

`docs/architecture.md`, section Preprocessing, step 1; what follows is in `canvas.py`.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from maskline_coco.image_headers import ORIENTATION_TAG
from maskline_coco.image_limits import LIMITS, ImageLimits, check_bytes, check_pixels
from PIL import Image, UnidentifiedImageError

from maskline_train.data.errors import ImageError

Pixels = npt.NDArray[np.uint8]

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "TIFF",
    "GIF",
)  # what data sets hold; the server takes the first three

_VISIBLE = 32  # of 255; the darkest photographs of a lit place have brighter pixels
_STRIP_PIXELS = 1 << 19  # converted at a time: 16-bit gray of 50 megapixels at once takes 1.2 GiB

# Orientation -> how Pillow turns the stored picture upright; 1, and anything unknown: as it is.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_nearly_black(pixels: Pixels) -> bool:
    """Whether a picture [H, W, 3] has nothing to see: mostly one of 16 bits that uses the lowest of them alone."""
    return int(pixels.max(initial=0)) < _VISIBLE


def decode_image(source: bytes | str | Path, limits: ImageLimits = LIMITS) -> Pixels:
    """Decode one image file to [H, W, 3] uint8 RGB, upright.

    EXIF orientation is applied (an unreadable EXIF block is ignored). Transparency is composited over black;
    grayscale of more than 8 bits (`I;16`, `I`, `F`) is divided by 257, rounded and clipped; of an animation the
    first frame counts.

    Args:
        source: the bytes of a file, or its path.
        limits: checked before decoding.

    Raises:
        ImageError: not an image, truncated, or beyond the limits; the text begins with the path, if any.
        FileNotFoundError: no such file.
    """
    name, data = ("image", source) if isinstance(source, bytes) else (str(source), _read(Path(source), limits))
    check_bytes(name, len(data), limits)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            check_pixels(name, image.size, limits)
            image.load()
            return _to_rgb(_upright(image))
    except ImageError:
        raise
    except UnidentifiedImageError as error:  # whose own text names the stream, not the file
        raise ImageError(
            f"{name}: cannot be decoded (it begins with {data[:8]!r}); expected a {', '.join(FORMATS)} file; "
            "convert it, or remove it from the data set"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {error}; expected at most {limits.max_pixels} pixels; make it smaller") from error
    except Exception as error:  # Pillow's readers raise anything from struct.error to SyntaxError on a broken file
        raise ImageError(
            f"{name}: cannot be decoded ({error}); expected a whole {', '.join(FORMATS)} file; "
            "replace it or remove it from the data set"
        ) from error


def _read(path: Path, limits: ImageLimits) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: got no such file, expected an image; check the name")
    check_bytes(str(path), path.stat().st_size, limits)
    return path.read_bytes()


def _upright(image: Image.Image) -> Image.Image:
    """As `ImageOps.exif_transpose`, which also writes the other tags anew and so fails on odd ones among them."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block (any error of its parser) does not make the pixels unreadable
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Pixels:
    """The pixels, some rows at a time: what is held beside picture and answer meanwhile is small."""
    width, height = image.size
    whole = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image if bottom - top == height else image.crop((0, top, width, bottom))
        whole[top:bottom] = _strip_to_rgb(strip)
    return whole


def _strip_to_rgb(image: Image.Image) -> Pixels:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        wide = np.nan_to_num(np.asarray(image).astype(np.float64))
        gray = np.clip(np.floor(wide / 257 + 0.5), 0, 255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA"))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
