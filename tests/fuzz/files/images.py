"""The server's decoder: edited JPEG, PNG and WebP files, with EXIF and XMP, are decoded or refused by name.

Half of the PNG files get the checksums that their changed chunks need, or no change would reach what is behind them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from atheris import FuzzedDataProvider
from fuzz.edits import edited_bytes
from fuzz.oracle import judged
from PIL import Image
from support.data import image_files
from support.serving import model_files

images = model_files.load("models/preprocess/1/images.py")
filters = model_files.load("models/preprocess/1/filters.py")

LIMITS = images.Limits(1 << 20, 4_000_000, 5000)
GEOMETRY = images.Geometry(64, 96, ((64, 96), (96, 64), (96, 96)))
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><r tiff:Orientation='6'/></x:xmpmeta>"


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target."""
    Image.MAX_IMAGE_PIXELS = None  # as the model `preprocess` sets it
    resize, _ = filters.choose("pillow")
    good = [*image_files.good_files().values(), image_files.odd_exif(), image_files.broken_exif()]
    good += [image_files.encoded(image_files.picture(), name, xmp=_XMP) for name in ("JPEG", "WEBP")]

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        file = edited_bytes(choices.PickValueInList(good), choices)
        if file.startswith(_SIGNATURE) and choices.ConsumeBool():
            file = with_checksums(file)
        with judged(images.InvalidImageError):
            picture, (height, width) = images.prepare(file, GEOMETRY, LIMITS, resize)
            assert picture.dtype == np.uint8
            assert picture.shape == (*GEOMETRY.resized_size((height, width)), 3)
            assert height * width <= LIMITS.max_image_pixels
            canvas, info, sizes = images.compose([(picture, (height, width))], GEOMETRY)
            assert canvas.shape[1:3] in GEOMETRY.canvases
            assert np.isfinite(info).all()
            assert sizes.tolist() == [[height, width]]

    return run


def with_checksums(file: bytes) -> bytes:
    """A PNG file with the right checksum at each chunk, as far as the lengths of chunks can be followed."""
    out, at = bytearray(file), len(_SIGNATURE)
    while at + 12 <= len(out):
        length = struct.unpack_from(">I", out, at)[0]
        end = at + 8 + length
        if end + 4 > len(out):
            break
        struct.pack_into(">I", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)
