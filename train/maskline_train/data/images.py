"""From an image file to the network's canvas: the reference for training, verification and the server.

`docs/architecture.md`, section Preprocessing, steps 1 to 4. Sizes are (height, width), pixels.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_train.data.errors import ImageError
from maskline_train.spec import PreprocessingSpec

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "TIFF",
    "GIF",
)  # what data sets hold; the server takes the first three

# EXIF tag 0x0112 -> how Pillow turns the stored picture upright; 1, and anything unknown: as it is.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclasses.dataclass(frozen=True)
class ImageLimits:
    """What is refused before a pixel is decoded."""

    max_bytes: int = 32 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_side_px: int = 20_000


LIMITS = ImageLimits()


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
    _check_bytes(name, len(data), limits)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_pixels(name, image.size, limits)
            image.load()
            return _to_rgb(_upright(image))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: {error}; expected at most {limits.max_pixels} pixels; make it smaller") from error
    except Exception as error:  # Pillow's readers raise anything from struct.error to SyntaxError on a broken file
        raise ImageError(
            f"{name}: cannot be decoded ({error}); expected a whole {', '.join(FORMATS)} file; "
            "replace it or remove it from the data set"
        ) from error


def scaled_size(size: Size, shorter_side_px: int, longer_side_px: int) -> Size:
    """The size with a shorter side of `shorter_side_px`, or a longer one of `longer_side_px` if that is smaller.

    Each side is rounded, halves up, and at least 1.
    """
    scale = min(shorter_side_px / min(size), longer_side_px / max(size))
    return max(1, math.floor(size[0] * scale + 0.5)), max(1, math.floor(size[1] * scale + 0.5))


def resize_geometry(size: Size, spec: PreprocessingSpec) -> Size:
    """The size an image of `size` is resized to for the network, (height, width), at least 1 x 1.

    When no canvas holds the result, each side is cut to that of the largest canvas (by area; ties: the last).
    """
    resized = scaled_size(size, spec.shorter_side_px, spec.longer_side_px)
    if any(_holds(canvas, resized) for canvas in spec.canvases):
        return resized
    largest = sorted(spec.canvases, key=_area)[-1]
    return min(resized[0], largest[0]), min(resized[1], largest[1])


def choose_canvas(resized: Sequence[Size], spec: PreprocessingSpec) -> Size:
    """The canvas shared by images of these resized sizes: the smallest by area that holds all of them.

    Ties keep the order of `spec.canvases`. When no single canvas holds all: the element-wise maximum of the
    canvas of each.

    Raises:
        ValueError: no image, or an image that no canvas holds (`resize_geometry` never makes one).
    """
    if not resized:
        raise ValueError("choose_canvas: got no image, expected at least one")
    ordered = sorted(spec.canvases, key=_area)  # stable: ties as listed
    shared = next((canvas for canvas in ordered if all(_holds(canvas, size) for size in resized)), None)
    if shared is not None:
        return shared
    own: list[Size] = []
    for size in resized:
        fitting = [canvas for canvas in ordered if _holds(canvas, size)]
        if not fitting:
            raise ValueError(f"choose_canvas: got {size}, expected at most {ordered[-1]}; use resize_geometry")
        own.append(fitting[0])
    return max(height for height, _ in own), max(width for _, width in own)


def resize_image(image: Pixels, size: Size) -> Pixels:
    """[H, W, 3] uint8 at `size`, by Pillow's antialiased bilinear filter; the same array if nothing changes."""
    if image.shape[:2] == size:
        return image
    resized = Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def image_info(resized: Size, original: Size) -> npt.NDArray[np.float32]:
    """[6] float32: resized_h, resized_w, scale_y, scale_x, original_h, original_w; scale: resized / original."""
    scales = (resized[0] / original[0], resized[1] / original[1])
    return np.array([*resized, *scales, *original], np.float32)


def pad_image(image: Pixels, canvas: Size) -> Pixels:
    """[H, W, 3] uint8 of size `canvas`: the image at the top left, zeros elsewhere."""
    out = np.zeros((*canvas, 3), np.uint8)
    out[: image.shape[0], : image.shape[1]] = image
    return out


def preprocess(image: Pixels, spec: PreprocessingSpec) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """One decoded image to (`canvas` uint8 [H, W, 3], `image_info` float32 [6])."""
    canvases, infos = preprocess_batch([image], spec)
    return canvases[0], infos[0]


def preprocess_batch(images: Sequence[Pixels], spec: PreprocessingSpec) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """Decoded images to (`canvas` uint8 [B, H, W, 3], `image_info` float32 [B, 6]), on one shared canvas."""
    originals: list[Size] = [(image.shape[0], image.shape[1]) for image in images]
    sizes = [resize_geometry(original, spec) for original in originals]
    canvas = choose_canvas(sizes, spec)
    pixels = [pad_image(resize_image(image, size), canvas) for image, size in zip(images, sizes, strict=True)]
    infos = [image_info(size, original) for size, original in zip(sizes, originals, strict=True)]
    return np.stack(pixels), np.stack(infos)


def _read(path: Path, limits: ImageLimits) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: got no such file, expected an image; check the name")
    _check_bytes(str(path), path.stat().st_size, limits)
    return path.read_bytes()


def _check_bytes(name: str, num_bytes: int, limits: ImageLimits) -> None:
    if num_bytes == 0:
        raise ImageError(f"{name}: got an empty file, expected an image; replace it")
    if num_bytes > limits.max_bytes:
        raise ImageError(f"{name}: got {num_bytes} bytes, expected at most {limits.max_bytes}; make it smaller")


def _check_pixels(name: str, size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if min(size) < 1:
        raise ImageError(f"{name}: got {width}x{height} pixels, expected at least 1x1; replace it")
    if width * height > limits.max_pixels or max(size) > limits.max_side_px:
        raise ImageError(
            f"{name}: got {width}x{height} pixels, expected at most {limits.max_pixels} pixels and "
            f"{limits.max_side_px} a side; make it smaller"
        )


def _upright(image: Image.Image) -> Image.Image:
    """As `ImageOps.exif_transpose`, which also writes the other tags anew and so fails on odd ones among them."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block (any error of its parser) does not make the pixels unreadable
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        wide = np.nan_to_num(np.asarray(image).astype(np.float64))
        gray = np.clip(np.floor(wide / 257 + 0.5), 0, 255).astype(np.uint8)
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _holds(canvas: Size, size: Size) -> bool:
    return canvas[0] >= size[0] and canvas[1] >= size[1]


def _area(canvas: Size) -> int:
    return canvas[0] * canvas[1]
