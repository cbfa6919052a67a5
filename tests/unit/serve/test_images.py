"""The server's decoder: each kind of file has its defined answer, everything else a refusal that says why."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.data import image_files
from support.serving import model_files

images = model_files.load("models/preprocess/1/images.py")

LIMITS = images.Limits(32 * 2**20, 50_000_000, 20_000)
BASELINE = images.Geometry(800, 1333, ((800, 1344), (1344, 800), (1344, 1344)))


def rgb(data: bytes) -> np.ndarray:
    return np.asarray(images.load_rgb(data, LIMITS))


def refusal(data: bytes, limits: object = LIMITS) -> str:
    with pytest.raises(images.InvalidImageError) as caught:
        images.load_rgb(data, limits)
    return str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_turns_the_picture_as_pillow_does(orientation: int) -> None:
    data = image_files.rotated(orientation, "PNG")
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(rgb(data), np.asarray(expected))


def test_orientation_six_is_a_quarter_turn_to_the_right() -> None:
    # Hand-checkable: the stored top row, left to right, becomes the right column, top to bottom.
    stored = np.asarray(image_files.picture())
    np.testing.assert_array_equal(rgb(image_files.rotated(6, "PNG"))[:, -1], stored[0])


def test_exif_that_cannot_be_written_again_still_turns_the_picture() -> None:
    assert rgb(image_files.odd_exif()).shape == (53, 37, 3)


def test_broken_exif_counts_as_none() -> None:
    assert rgb(image_files.broken_exif()).shape == (37, 53, 3)


def test_sixteen_bit_gray_is_divided_by_257_and_rounded() -> None:
    values = np.array([[0, 128, 129, 257, 32896, 65406, 65407, 65535]], np.uint16)
    data = image_files.encoded(Image.fromarray(values))
    # 128 / 257 = 0.498, 129 / 257 = 0.502, 32896 = 128 * 257, 65406 / 257 = 254.498, 65407 / 257 = 254.502
    expected = [0, 0, 1, 1, 128, 254, 255, 255]
    np.testing.assert_array_equal(rgb(data)[0], np.repeat(np.array(expected)[:, None], 3, axis=1))


def test_transparency_lies_over_black() -> None:
    image = Image.new("RGBA", (3, 1), (200, 100, 50, 0))
    image.putpixel((1, 0), (200, 100, 50, 255))
    image.putpixel((2, 0), (200, 100, 50, 128))  # 200 * 128 / 255 = 100.4
    np.testing.assert_array_equal(rgb(image_files.encoded(image))[0], [[0, 0, 0], [200, 100, 50], [100, 50, 25]])


def test_a_transparent_palette_colour_becomes_black_and_the_others_stay() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(rgb(image_files.encoded(image, transparency=0))[0], [[0, 0, 0], [40, 50, 60]])


@pytest.mark.parametrize("height", [1, 63, 64, 65, 200])
def test_pictures_higher_than_a_strip_are_converted_whole(height: int) -> None:
    rng = np.random.default_rng(height)
    deep = rng.integers(0, 65536, (height, 5), np.uint16)
    expected = np.floor(deep / 257.0 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(rgb(image_files.encoded(Image.fromarray(deep))), np.stack([expected] * 3, axis=2))
    clear = Image.fromarray(rng.integers(0, 256, (height, 5, 4), np.uint8))
    black = Image.new("RGBA", clear.size, (0, 0, 0, 255))
    expected = np.asarray(Image.alpha_composite(black, clear))[..., :3]
    np.testing.assert_array_equal(rgb(image_files.encoded(clear)), expected)


def test_a_server_without_memory_does_not_blame_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(MemoryError):
        images.load_rgb(PLAIN, LIMITS)


def test_cmyk_becomes_rgb() -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert np.abs(rgb(image_files.encoded(red, "JPEG")).astype(int) - [255, 0, 0]).max() <= 3  # JPEG's own loss


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_the_first_frame_of_an_animation_counts(image_format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = image_files.encoded(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(rgb(data), np.broadcast_to([255, 0, 0], (8, 8, 3)))


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        ((480, 640), (800, 1067)),  # the shorter side decides: 640 * 800 / 480 = 1066.67
        ((300, 1000), (400, 1333)),  # the longer side decides: 300 * 1.333 = 399.9
        ((1, 1), (800, 800)),
        ((1, 3000), (1, 1333)),  # 0.44 rounds to 0, and 1 is the least
        ((3000, 1), (1333, 1)),
        ((800, 1333), (800, 1333)),
    ],
)
def test_resized_sizes(original: tuple[int, int], expected: tuple[int, int]) -> None:
    assert BASELINE.resized_size(original) == expected


@pytest.mark.parametrize(
    ("resized", "expected"),
    [
        ([(800, 1067)], (800, 1344)),
        ([(1067, 800)], (1344, 800)),
        ([(800, 800)], (800, 1344)),  # both hold it and have one area: as listed
        ([(801, 801)], (1344, 1344)),
        ([(800, 1067), (1067, 800)], (1344, 1344)),
    ],
)
def test_canvases(resized: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    assert BASELINE.shared_canvas(resized) == expected


def test_images_that_no_single_canvas_holds_share_the_maximum_of_their_own() -> None:
    geometry = images.Geometry(64, 96, ((64, 96), (96, 64)))
    assert geometry.shared_canvas([(64, 90), (90, 64)]) == (96, 96)


def test_compose_pads_with_zeros_and_tells_sizes_and_scales() -> None:
    picture = np.full((2, 3, 3), 7, np.uint8)
    canvas, info, size = images.compose([(picture, (4, 9))], images.Geometry(2, 3, ((4, 4),)))
    assert canvas[0, :2, :3].min() == 7
    assert canvas.sum() == 7 * 2 * 3 * 3
    np.testing.assert_array_equal(info, np.array([[2, 3, 0.5, 1 / 3, 4, 9]], np.float32))
    np.testing.assert_array_equal(size, [[4, 9]])


PLAIN = image_files.encoded(image_files.picture(), "JPEG")
LARGE = image_files.encoded(image_files.picture(200, 300), "JPEG")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "got 0 bytes, expected a JPEG, PNG or WebP file"),
        (
            b"hello, I am a text",
            r"not a JPEG, PNG or WebP file that can be read \(got 18 bytes that start with b'hello, I'\)",
        ),
        (PLAIN[: len(PLAIN) // 2], "not a JPEG, PNG or WebP file"),
        (LARGE[: len(LARGE) // 2], "JPEG file that cannot be decoded .*truncated.*; check that it was not cut short"),
        (image_files.encoded(image_files.picture())[:600], "PNG file that cannot be decoded"),
        (image_files.encoded(image_files.picture(), "WEBP")[:300], "file"),
        (PLAIN[:2], "not a JPEG, PNG or WebP file"),
        (image_files.encoded(image_files.picture(), "GIF"), "not a JPEG, PNG or WebP file"),
        (image_files.encoded(image_files.picture(), "BMP"), "not a JPEG, PNG or WebP file"),
        (image_files.encoded(image_files.picture(), "TIFF"), "not a JPEG, PNG or WebP file"),
        (b"%PDF-1.7 and so on", "not a JPEG, PNG or WebP file"),
    ],
    ids=[
        "empty",
        "text",
        "half a jpeg header",
        "half a jpeg",
        "cut png",
        "cut webp",
        "two bytes",
        "gif",
        "bmp",
        "tiff",
        "pdf",
    ],
)
def test_what_is_no_whole_image_is_refused_by_name(data: bytes, text: str) -> None:
    assert re.search(text, refusal(data)), refusal(data)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("before", [b"", b"data:image/any;base64,"], ids=["base64", "data URL"])
def test_base64_of_an_image_is_called_so(image_format: str, before: bytes) -> None:
    data = before + base64.b64encode(image_files.encoded(image_files.picture(), image_format))
    start = re.escape(repr(data[:8]))
    expected = rf"start with {start}, as base64 of one does\); send the file's own bytes, over HTTP as binary data: "
    assert re.search(expected, refusal(data)), refusal(data)


@pytest.mark.parametrize("name", ["jpeg", "png", "lossy webp", "16-bit gray png", "animated webp"])
@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_are_decoded_or_refused_but_nothing_else(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(image_files.good_files()[name])
    for position in rng.integers(0, len(data), 8):
        data[position] = rng.integers(0, 256)
    with contextlib.suppress(images.InvalidImageError):  # any other exception is what this test looks for
        assert images.load_rgb(bytes(data), LIMITS).mode == "RGB"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing: a decompression bomb's outside."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (png_header(10_000, 6_000), "10000 x 6000 = 60000000 pixels, expected at most 50000000"),
        (png_header(25_000, 10), "a side of 25000 px, expected at most 20000"),
        (png_header(100_000, 100_000), "scale it down"),  # beyond Pillow's own limit too
        (png_header(0, 5), "image: "),
    ],
)
def test_a_bomb_is_refused_by_its_header_without_taking_memory(data: bytes, text: str) -> None:
    tracemalloc.start()
    message = refusal(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert text in message
    assert peak < 2**20


def test_a_file_beyond_the_byte_limit_is_refused_unread() -> None:
    limits = images.Limits(1000, 50_000_000, 20_000)
    assert "got 1001 bytes, expected at most 1000" in refusal(bytes(1001), limits)


def test_the_limits_themselves_are_allowed() -> None:
    data = image_files.encoded(image_files.picture(20, 30))
    images.load_rgb(data, images.Limits(len(data), 600, 30))
    for limits in (
        images.Limits(len(data) - 1, 600, 30),
        images.Limits(len(data), 599, 30),
        images.Limits(len(data), 600, 29),
    ):
        refusal(data, limits)


@pytest.mark.parametrize("text", ["", "800", "800x", "800x1344,", "0x5", "axb", "1x2x3"])
def test_canvases_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="canvases: got"):
        images.parse_canvases(text)


def test_canvases_are_read_as_height_x_width() -> None:
    assert images.parse_canvases("800x1344, 1344x800") == ((800, 1344), (1344, 800))
