"""Odd images, all dropped at once: each has its own end, in the server's words, and is shown as the server sees it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from maskline_client import Detector, InvalidImage
from maskline_client.images import decode_rgb
from maskline_serve.server.triton_server import TritonServer
from PIL import Image
from playwright.sync_api import Browser
from serve.conftest import encoded
from serve.test_bad_input import png_of_size
from support.processes.page import Desk

pytestmark = pytest.mark.triton

HEIGHT, WIDTH = 480, 640  # at which a picture is saved as large as it is


def scene(mode: str = "RGB") -> Image.Image:
    """A picture that differs from each of its turns; dark at the top left, so that the stand-in finds few objects."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    red = 4 + 200 * x / WIDTH
    green = 4 + 200 * y / HEIGHT
    blue = np.where((x < WIDTH / 3) & (y > HEIGHT / 2), 220, 4)
    return Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8)).convert(mode)


def turned(image_format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(scene(), image_format, exif=exif, quality=95)


def turned_by_xmp() -> bytes:
    """Whose orientation stands in XMP alone, which Pillow heeds and browsers do not."""
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    return encoded(scene(), "JPEG", xmp=xmp.encode())


def deep() -> bytes:
    values = np.linspace(4 * 257, 60_000, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    return encoded(Image.fromarray(values))


def clear() -> bytes:
    """A quarter of it is half clear: over black for the server."""
    image = scene("RGBA")
    image.paste((200, 100, 50, 128), (WIDTH // 2, HEIGHT // 2, WIDTH, HEIGHT))
    return encoded(image)


def moving(image_format: str) -> bytes:
    return encoded(scene(), image_format, save_all=True, append_images=[scene().rotate(180)], quality=95)


def cut(image_format: str) -> bytes:
    data = encoded(scene(), image_format)
    return data[: len(data) // 2]


PLAIN = 3  # of 255, mean: two decoders of JPEG and WebP differ by roundings, and in how they enlarge colours
# Chromium turns CMYK into RGB by a colour profile, Pillow by a product: other colours of the same picture.
INKED = 40
TAKEN = {  # file, mean difference of the picture that is shown to the one that the server sees
    "jpeg": (encoded(scene(), "JPEG"), PLAIN),
    "progressive jpeg": (encoded(scene(), "JPEG", progressive=True), PLAIN),
    "mirrored jpeg": (turned("JPEG", 2), PLAIN),
    "jpeg upside down": (turned("JPEG", 3), PLAIN),
    "jpeg on its side": (turned("JPEG", 6), PLAIN),
    "jpeg on its other side": (turned("JPEG", 8), PLAIN),
    "jpeg turned by xmp": (turned_by_xmp(), PLAIN),
    "gray jpeg": (encoded(scene("L"), "JPEG"), PLAIN),
    "cmyk jpeg": (encoded(scene("CMYK"), "JPEG"), INKED),
    "png": (encoded(scene()), 0),
    "png on its side": (turned("PNG", 6), PLAIN),
    "16 bit png": (deep(), 1),
    "1 bit png": (encoded(scene("1")), 0),
    "palette": (encoded(scene("P")), 0),
    "half clear png": (clear(), 1),
    "webp": (encoded(scene(), "WEBP", quality=95), PLAIN),
    "webp on its side": (turned("WEBP", 6), PLAIN),
    "moving webp": (moving("WEBP"), PLAIN),
    "moving png": (moving("PNG"), 0),
    "very wide": (encoded(scene().resize((1999, 2))), 0),
    "very tall": (encoded(scene().resize((2, 1999))), 0),
}
# What is not of this size is looked at by its size alone: a picture of one pixel is saved enlarged.
SIZES = {"one pixel": encoded(scene().resize((1, 1))), "12 megapixels": encoded(scene().resize((4000, 3000)), "JPEG")}
REFUSED = {
    "gif": encoded(scene(), "GIF"),
    "bmp": encoded(scene(), "BMP"),
    "tiff": encoded(scene(), "TIFF"),
    "avif": encoded(scene().resize((64, 64)), "AVIF"),
    "heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "text": b"<script>alert(1)</script>",
    "empty": b"",
    "cut jpeg": cut("JPEG"),
    "cut png": cut("PNG"),
    "cut webp": cut("WEBP"),
    "huge header": png_of_size(30_000, 20_000),
    "too many bytes": bytes(32 * 1024 * 1024 + 1),
}


@pytest.fixture(scope="module")
def dropped(browser: Browser, link: str, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The page with all of them."""
    desk = Desk(browser.new_page(viewport={"width": 1280, "height": 900}), link, tmp_path_factory.mktemp("files"))
    desk.choose(**{name: data for name, (data, _) in TAKEN.items()}, **SIZES, **REFUSED)
    desk.threshold(100)  # nothing is drawn over the pictures
    return desk


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_shown_as_the_server_sees_it(dropped: Desk, name: str) -> None:
    data, limit = TAKEN[name]
    seen = decode_rgb(data)
    dropped.look_at(name)
    assert dropped.texts("#name") == [f"{name}, {seen.width} × {seen.height}"]
    saved = Image.open(io.BytesIO(dropped.saved("#save-png")), formats=["PNG"]).convert("RGB")
    assert saved.size == seen.size
    difference = np.abs(np.asarray(saved, float) - np.asarray(seen, float))
    assert difference.mean() <= limit
    # Another turn would be far off: at least half of this scene's mean difference from itself mirrored.
    assert limit < np.abs(np.asarray(scene(), float) - np.asarray(scene(), float)[:, ::-1]).mean()


@pytest.mark.parametrize("name", SIZES)
def test_its_size_is_the_servers(dropped: Desk, name: str) -> None:
    seen = decode_rgb(SIZES[name])
    dropped.look_at(name)
    assert dropped.texts("#name") == [f"{name}, {seen.width} × {seen.height}"]


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_alone_in_the_servers_words(dropped: Desk, name: str, server: TritonServer) -> None:
    dropped.look_at(name)
    (said,) = dropped.texts("#error")
    assert not dropped.page.locator("#stage").is_visible()
    if name in ("empty", "too many bytes"):  # by the page's own server, or the page, before anything is sent on
        assert said.startswith(("the image: got an empty file, expected", "the image: got 33554433 bytes, expected"))
        return
    with Detector(server.grpc_url) as detector, pytest.raises(InvalidImage) as refused:
        detector.detect(REFUSED[name])
    assert said == " ".join(str(refused.value).split())


def test_nothing_went_wrong_in_the_page(dropped: Desk) -> None:
    assert not dropped.errors
    assert len(TAKEN) + len(SIZES) + len(REFUSED) == len(dropped.texts("#strip .file")) > 30
