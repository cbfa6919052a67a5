"""Image files of every kind that users send, made from a seeded picture: what preprocessing is tested on."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin


def picture(height: int = 37, width: int = 53, seed: int = 0) -> Image.Image:
    """A smooth colour gradient with some noise: no two rows, columns or orientations look the same."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [200 * x / width, 200 * y / height, 100 * x / width + 100 * y / height]
    values = np.stack(planes, axis=-1) + rng.integers(0, 50, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    """The file's bytes."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def rotated(orientation: int, image_format: str = "JPEG", height: int = 37, width: int = 53) -> bytes:
    """A file whose EXIF says orientation 1 to 8."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(height, width), image_format, exif=exif)


def gray16(transparent: bool = False) -> bytes:
    """A 16-bit grayscale PNG over the full range, both ends included."""
    values = np.linspace(0, 65535, 37 * 53).round().astype(np.uint16).reshape(37, 53)
    options = {"transparency": 0} if transparent else {}
    return encoded(Image.fromarray(values), "PNG", **options)


def palette(transparent: bool) -> bytes:
    """A palette PNG, one of its colours transparent or none."""
    image = picture().quantize(16)
    return encoded(image, "PNG", **({"transparency": 3} if transparent else {}))


def rgba(image_format: str) -> bytes:
    """Every opacity from 0 to 255."""
    image = picture().convert("RGBA")
    alpha = np.linspace(0, 255, 37 * 53).round().astype(np.uint8).reshape(37, 53)
    image.putalpha(Image.fromarray(alpha))
    return encoded(image, image_format, **({"lossless": True} if image_format == "WEBP" else {}))


def animated(image_format: str) -> bytes:
    """Three frames, each of another picture."""
    frames = [picture(seed=seed).rotate(90 * seed) for seed in range(3)]
    return encoded(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100)


def odd_exif() -> bytes:
    """A JPEG with orientation 6 and the tag ImageWidth as text: Pillow reads such EXIF but cannot write it again."""
    entries = (struct.pack("<HHI4s", 0x0100, 2, 4, b"abc"), struct.pack("<HHI4s", 0x0112, 3, 1, b"\6"))
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    return encoded(picture(), "JPEG", exif=block)


def broken_exif() -> bytes:
    """A JPEG whose EXIF block is noise after its signature."""
    return encoded(picture(), "JPEG", exif=b"Exif\x00\x00" + bytes(range(60)))


def turned_by_xmp(image_format: str) -> bytes:
    """A file whose orientation, 6, is in its XMP alone."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if image_format != "PNG":
        return encoded(picture(), image_format, xmp=xmp)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return encoded(picture(), image_format, pnginfo=info)


def endless_jpeg(scans: int, side: int = 7000) -> bytes:
    """A progressive JPEG within every limit that takes minutes: each scan of 98 bytes goes over all its 49 megapixels.

    Some 8 ms a scan on one core of a server.
    """
    file = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    starts = [match.start() for match in re.finditer(rb"\xff\xda", file)]  # of scans; the second has no table behind it
    return file[: starts[1]] + file[starts[1] : starts[2]] * scans + file[starts[1] :]


def good_files() -> dict[str, bytes]:
    """Every kind of file that has a defined right answer, by name."""
    plain = picture()
    return {
        "jpeg": encoded(plain, "JPEG"),
        "progressive jpeg": encoded(plain, "JPEG", progressive=True),
        "gray jpeg": encoded(plain.convert("L"), "JPEG"),
        "cmyk jpeg": encoded(plain.convert("CMYK"), "JPEG"),
        "png": encoded(plain),
        "interlace-free 1-bit png": encoded(plain.convert("1")),
        "gray png": encoded(plain.convert("L")),
        "gray-alpha png": encoded(plain.convert("LA")),
        "16-bit gray png": gray16(),
        "16-bit gray png, black transparent": gray16(transparent=True),
        "palette png": palette(transparent=False),
        "transparent palette png": palette(transparent=True),
        "colour-key png": encoded(Image.new("RGB", (53, 37), (9, 9, 9)), transparency=(9, 9, 9)),
        "rgba png": rgba("PNG"),
        "rgba webp": rgba("WEBP"),
        "lossy webp": encoded(plain, "WEBP"),
        "lossless webp": encoded(plain, "WEBP", lossless=True),
        "animated webp": animated("WEBP"),
        "animated png": animated("PNG"),
        "multi-picture jpeg": encoded(plain, "MPO", save_all=True, append_images=[picture(seed=1)]),
        "broken exif": broken_exif(),
        "odd exif": odd_exif(),
        **{f"jpeg orientation {i}": rotated(i) for i in range(1, 9)},
        "png orientation 6": rotated(6, "PNG"),
        "webp orientation 8": rotated(8, "WEBP"),
        "jpeg orientation 9": rotated(9),
        "1x1": encoded(picture(1, 1)),
        "1x3000": encoded(picture(1, 3000)),
        "3000x1": encoded(picture(3000, 1)),
        "size of a canvas": encoded(picture(64, 96)),
    }


def _psd() -> bytes:
    """Photoshop's format, which Pillow only reads: 4 x 4 RGB, three empty sections, raw pixels."""
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 4, 4, 8, 3)
    return head + bytes(12) + bytes(2) + bytes(3 * 16)


# Files that Pillow reads, and the server does not: other formats under a name that it takes.
FOREIGN = {
    **{name: encoded(picture(), name) for name in ("TIFF", "GIF", "BMP", "EPS", "PPM", "PCX", "TGA", "ICO")},
    "PSD": _psd(),
}
