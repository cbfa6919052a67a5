"""Image files to network canvases. Ref: docs/architecture.md, "Preprocessing".

Letters: B images, H W canvas. Sizes are (height, width) in pixels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .filters import Resizer
from .resizing import SIZE_RULES, Size, SizeRule, UInt8, scaled_size

FORMATS = ("JPEG", "PNG", "WEBP")
_STRIP_ROWS = 64  # of at most 20 000 px: 10 MB as float64
# How a file of each format begins in base64, and a data URL: JSON cannot carry bytes, so people send these.
_AS_TEXT = (b"/9j/", b"iVBORw0KGgo", b"UklGR", b"data:image/")
# EXIF tag 0x0112, orientation -> how Pillow turns the stored picture upright. 1, and anything unknown: as it is.
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


class InvalidImageError(ValueError):
    """An image that is refused; the text says what was got, what is expected and what to do."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What is refused before decoding."""

    max_image_bytes: int
    max_image_pixels: int
    max_image_side_px: int


def limits_of(parameters: Mapping[str, str]) -> Limits:
    """The limits that the parameters of config.pbtxt say; ValueError names one that is missing or wrong."""
    return Limits(*(whole_number(parameters, field.name) for field in dataclasses.fields(Limits)))


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the network wants its images.

    Attributes:
        shorter_side_px, longer_side_px: what an image is resized to.
        canvases: (height, width); none where `canvas_multiple` is a number.
        canvas_multiple: images keep their size, and their canvas has sides rounded up to a multiple of this number.
        size_rule: how the sides of a resized image become whole numbers.
    """

    shorter_side_px: int
    longer_side_px: int
    canvases: tuple[Size, ...]
    canvas_multiple: int | None = None
    size_rule: SizeRule = "round"

    def ordered_canvases(self) -> list[Size]:
        """Canvases by area, ties as listed."""
        return sorted(self.canvases, key=lambda size: size[0] * size[1])

    def resized_size(self, original: Size) -> Size:
        """Size of the picture on the canvas; at least 1 x 1, cut to the largest canvas of a list when none holds it."""
        height, width = scaled_size(original, self.shorter_side_px, self.longer_side_px, self.size_rule)
        if self.canvas_multiple is None and _first_that_holds(self.ordered_canvases(), [(height, width)]) is None:
            last = self.ordered_canvases()[-1]
            height, width = min(height, last[0]), min(width, last[1])
        return height, width

    def shared_canvas(self, resized: Sequence[Size]) -> Size:
        """The smallest canvas that holds every picture; of a list that has none, the maximum of each one's own."""
        if self.canvas_multiple is not None:
            return _rounded_up(resized, self.canvas_multiple)
        ordered = self.ordered_canvases()
        shared = _first_that_holds(ordered, resized)
        if shared is not None:
            return shared
        own = [_first_that_holds(ordered, [size]) or ordered[-1] for size in resized]
        return max(size[0] for size in own), max(size[1] for size in own)


def _rounded_up(resized: Sequence[Size], multiple: int) -> Size:
    """The largest height and the largest width, each rounded up to a multiple."""
    height, width = (multiple * math.ceil(max(size[axis] for size in resized) / multiple) for axis in (0, 1))
    return height, width


def _first_that_holds(ordered: Iterable[Size], resized: Sequence[Size]) -> Size | None:
    """First canvas at least as high and wide as every picture."""
    height, width = max(size[0] for size in resized), max(size[1] for size in resized)
    return next((canvas for canvas in ordered if canvas[0] >= height and canvas[1] >= width), None)


def geometry_of(parameters: Mapping[str, str]) -> Geometry:
    """The sizes that the parameters of config.pbtxt say.

    Raises:
        ValueError: one is missing or wrong, or both `canvases` and `canvas_multiple` are set; the text names it.
    """
    sides = whole_number(parameters, "shorter_side_px"), whole_number(parameters, "longer_side_px")
    named = parameters.get("size_rule", "")
    rule = next((known for known in SIZE_RULES if known == named), None)
    if rule is None:
        raise ValueError(f"size_rule: got {named!r}, expected one of {', '.join(SIZE_RULES)}")
    canvases, multiple = parameters.get("canvases", ""), parameters.get("canvas_multiple", "")
    if not multiple:
        return Geometry(*sides, parse_canvases(canvases), size_rule=rule)
    if canvases:
        raise ValueError(
            f"canvases: got {canvases!r} beside canvas_multiple {multiple!r}, expected one; empty the other"
        )
    return Geometry(*sides, (), whole_number(parameters, "canvas_multiple"), rule)


def whole_number(parameters: Mapping[str, str], key: str) -> int:
    """A parameter that is a whole number above zero; ValueError names it when it is not."""
    value = parameters.get(key, "")
    if not value.isascii() or not value.isdigit() or int(value) == 0:
        raise ValueError(f"{key}: got {value!r}, expected a whole number above zero")
    return int(value)


def parse_canvases(text: str) -> tuple[Size, ...]:
    """`"800x1344,1344x800"` (height x width) as sizes.

    Raises:
        ValueError: not of that form, or a side below 1.
    """
    try:
        sizes = [tuple(int(side) for side in item.split("x")) for item in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or any(len(size) != 2 or min(size) < 1 for size in sizes):
        raise ValueError(f"canvases: got {text!r}, expected sizes such as '800x1344,1344x800' (height x width)")
    return tuple((size[0], size[1]) for size in sizes)


def load_rgb(data: bytes, limits: Limits) -> Image.Image:
    """Decode a file to an upright 8-bit RGB picture; of an animation the first frame.

    Raises:
        InvalidImageError: too large, not a JPEG, PNG or WebP file, or broken.
    """
    image = opened(data, limits)
    try:
        image.load()
    except MemoryError:  # the server's trouble, not the file's
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ... on broken files
        raise InvalidImageError(
            f"image: got {len(data)} bytes of a {image.format} file that cannot be decoded ({error}), expected a "
            "whole one; check that it was not cut short on its way"
        ) from error
    return to_rgb(upright(image))


def opened(data: bytes, limits: Limits) -> Image.Image:
    """Read the header alone and apply the limits.

    Raises:
        InvalidImageError: too large, or not a JPEG, PNG or WebP file.
    """
    refuse_by_length(data, limits)
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:  # Pillow's own limit, should ours be set higher
        raise InvalidImageError(f"image: {error}; scale it down") from error
    except Exception as error:  # headers too raise many types
        raise InvalidImageError(
            f"image: not a JPEG, PNG or WebP file that can be read (got {len(data)} bytes that start with "
            f"{bytes(data[:8])!r}{_next_step(data)}"
        ) from error
    width, height = image.size
    if min(width, height) < 1:
        raise InvalidImageError(f"image: got {width} x {height} pixels, expected at least 1 x 1; check how it was made")
    if width * height > limits.max_image_pixels:
        raise InvalidImageError(
            f"image: got {width} x {height} = {width * height} pixels, expected at most {limits.max_image_pixels}; "
            "scale it down or cut it into tiles"
        )
    if max(width, height) > limits.max_image_side_px:
        raise InvalidImageError(
            f"image: got a side of {max(width, height)} px, expected at most {limits.max_image_side_px}; "
            "scale it down or cut it into tiles"
        )
    return image


def _next_step(data: bytes) -> str:
    """How the refusal of a file that cannot be opened goes on."""
    if data.startswith(_AS_TEXT):
        return ", as base64 of one does); send the file's own bytes, over HTTP as binary data: base64 is not decoded"
    return "); send the whole file as it is on disk, or convert it"


def refuse_by_length(data: bytes, limits: Limits) -> None:
    """Raise InvalidImageError for a file that is empty or too long."""
    if not data:
        raise InvalidImageError("image: got 0 bytes, expected a JPEG, PNG or WebP file; check that it was read")
    if len(data) > limits.max_image_bytes:
        raise InvalidImageError(
            f"image: got {len(data)} bytes, expected at most {limits.max_image_bytes}; compress it or scale it down"
        )


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation, as `ImageOps.exif_transpose`; EXIF that cannot be read counts as none.

    `exif_transpose` itself also writes the remaining EXIF anew, which fails on files with odd tags in it.
    """
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken block raises struct.error, SyntaxError, ...
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as 8-bit RGB: 16-bit gray scaled by 1/257, transparency over black, the rest by Pillow."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _by_strips(image, _gray)
    if image.has_transparency_data:
        return _by_strips(image, _over_black)
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy it, 4 bytes a pixel


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """An RGB picture made some rows at a time, so that what `convert` holds meanwhile is small."""
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))
        whole.paste(convert(strip), (0, top))
    return whole


def _gray(image: Image.Image) -> Image.Image:
    """16-bit gray as 8-bit gray."""
    values = np.floor(np.asarray(image, np.float64) / 257.0 + 0.5)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _over_black(image: Image.Image) -> Image.Image:
    """What has transparency over opaque black."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def prepare(data: bytes, geometry: Geometry, limits: Limits, resize: Resizer) -> tuple[UInt8, Size]:
    """Decode and resize one file.

    Args:
        data: the file.
        geometry: the sizes wanted.
        limits: what is refused before decoding.
        resize: what `filters.choose` gave; not called where the size stays.

    Returns:
        The picture as it lies on the canvas, [resized_h, resized_w, 3] uint8 RGB, and the original size.

    Raises:
        InvalidImageError: see `load_rgb`.
    """
    image = load_rgb(data, limits)
    original = (image.height, image.width)
    resized = geometry.resized_size(original)
    return np.asarray(image) if resized == original else resize(image, resized), original


class Layout(NamedTuple):
    """Where the pictures of one request lie.

    Attributes:
        canvas: the size that they share.
        info: [B,6] float32: resized_h, resized_w, scale_y, scale_x, original_h, original_w.
        sizes: [B,2] int32, original (height, width).
    """

    canvas: Size
    info: npt.NDArray[np.float32]
    sizes: npt.NDArray[np.int32]


def layout(resized: Sequence[Size], originals: Sequence[Size], geometry: Geometry) -> Layout:
    """The canvas of at least one picture, and what is said of each."""
    rows = [(h, w, h / size[0], w / size[1], *size) for (h, w), size in zip(resized, originals, strict=True)]
    sizes = np.array(originals, np.int32).reshape(-1, 2)
    return Layout(geometry.shared_canvas(resized), np.array(rows, np.float32), sizes)


def compose(
    pictures: Sequence[tuple[UInt8, Size]], geometry: Geometry
) -> tuple[UInt8, npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Put what `prepare` gave for the images of one request on one canvas size.

    Args:
        pictures: at least one.
        geometry: the canvases to choose from.

    Returns:
        canvas [B,H,W,3] uint8, zero outside the pictures; info and sizes of `layout`.
    """
    resized = [(picture.shape[0], picture.shape[1]) for picture, _ in pictures]
    placed = layout(resized, [original for _, original in pictures], geometry)
    canvas = np.zeros((len(pictures), *placed.canvas, 3), np.uint8)
    for i, (picture, _) in enumerate(pictures):
        h, w = picture.shape[:2]
        canvas[i, :h, :w] = picture
    return canvas, placed.info, placed.sizes
