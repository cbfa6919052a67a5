"""Every kind of image file gets its defined answer; what is no usable image fails its own request alone."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serve import standin
from serve.conftest import Pending, encoded, send, step_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

D = standin.SPEC.box_head.max_detections
SIZE = (40, 60)


def plain(mode, value, size=SIZE):
    return Image.new(mode, (size[1], size[0]), value)


def rgb(value, size=SIZE):
    return plain("RGB", (value,) * 3, size)


def palette(value):
    image = plain("P", 1)
    image.putpalette([200, 200, 200, value, value, value])
    return image


def palette_with_transparency():
    return encoded(palette(9), "PNG", transparency=b"\xff\x00")  # entry 1, the whole picture, is clear


def animation():
    return encoded(rgb(4), "WEBP", save_all=True, append_images=[rgb(90)], lossless=True)


def turned(orientation):
    """Stored: upper half 3, lower half 7. Orientation 3 (half a turn) and 6 (a quarter clockwise) put 7 first."""
    image = rgb(3)
    image.paste((7, 7, 7), (0, SIZE[0] // 2, SIZE[1], SIZE[0]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, "JPEG", quality=100, exif=exif)


FORMATS = [  # file, objects it asks for, (height, width) of the answer
    ("jpeg", encoded(rgb(5), "JPEG"), 5, SIZE),
    ("progressive jpeg", encoded(rgb(5), "JPEG", progressive=True), 5, SIZE),
    ("png", encoded(rgb(5)), 5, SIZE),
    ("1 bit png", encoded(plain("1", 1)), D, SIZE),  # white is 255: cut at D
    ("webp", encoded(rgb(5), "WEBP", lossless=True), 5, SIZE),
    ("animated webp", animation(), 4, SIZE),  # the first frame
    ("gray jpeg", encoded(plain("L", 6), "JPEG"), 6, SIZE),
    ("gray png", encoded(plain("L", 6)), 6, SIZE),
    ("gray with alpha", encoded(plain("LA", (20, 128))), 10, SIZE),  # over black: 20 x 128 / 255
    ("cmyk jpeg", encoded(plain("CMYK", (245, 245, 245, 0)), "JPEG", quality=100), 10, SIZE),  # 255 - ink
    ("16-bit png", encoded(plain("I;16", 8 * 257)), 8, SIZE),  # 16 bits / 257 are 8
    ("palette", encoded(palette(9)), 9, SIZE),
    ("clear palette", palette_with_transparency(), 0, SIZE),  # over black
    ("rgba", encoded(plain("RGBA", (20, 20, 20, 128))), 10, SIZE),
    ("exif upright", turned(1), 3, SIZE),
    ("exif half a turn", turned(3), 7, SIZE),
    ("exif a quarter clockwise", turned(6), 7, SIZE[::-1]),
    ("exif a quarter back", turned(8), 3, SIZE[::-1]),
    ("exif of nonsense", turned(77), 3, SIZE),
    ("1x1", encoded(rgb(2, (1, 1))), 2, (1, 1)),
    ("1x3000", encoded(rgb(2, (1, 3000))), 2, (1, 3000)),
    ("3000x1", encoded(rgb(2, (3000, 1))), 2, (3000, 1)),
    ("12 megapixels", encoded(rgb(3, (3000, 4000)), "JPEG"), 3, (3000, 4000)),
]


@pytest.mark.parametrize(("file", "count", "size"), [row[1:] for row in FORMATS], ids=[row[0] for row in FORMATS])
def test_defined_answer(client, file, count, size):
    answer = send(client, [file])
    assert answer["image_size"].tolist() == [list(size)]
    assert answer["num_detections"].tolist() == [[count]]
    # Boxes travel as float32 pixels of the canvas: 2^-24 of 4000 px, a few times over.
    np.testing.assert_allclose(answer["boxes"][0, :count], standin.expected_boxes(count, size), rtol=1e-5, atol=1e-3)
    assert all(len(counts) > 0 for counts in answer["mask_rle"][0, :count])


def whole(image_format):
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)
    return encoded(Image.fromarray(noise), image_format)


def cut(image_format):
    file = whole(image_format)
    return file[: len(file) // 2]


def png_of_size(width, height):
    """A small file that claims to be large: a decompression bomb, gray zeros."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(width + 1)) for _ in range(min(height, 2000))) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bad_checksum():
    file = bytearray(whole("PNG"))
    file[len(file) // 2] ^= 0xFF
    return bytes(file)


BAD = [  # file, what the error must say
    ("empty", b"", "0 bytes"),
    ("text", b"this is not an image", "not a JPEG, PNG or WebP"),
    ("html", b"<!doctype html><html>404</html>", "not a JPEG, PNG or WebP"),
    ("zeros", bytes(4096), "not a JPEG, PNG or WebP"),
    ("cut jpeg", cut("JPEG"), "cannot be decoded"),
    ("cut png", cut("PNG"), "cannot be decoded"),
    ("cut webp", cut("WEBP"), "image"),  # libwebp sees it while it opens the file
    ("header alone", whole("PNG")[:33], "image"),
    ("signature alone", whole("PNG")[:8], "not a JPEG, PNG or WebP"),
    ("broken png", bad_checksum(), "cannot be decoded"),
    ("gif", encoded(rgb(5), "GIF"), "not a JPEG, PNG or WebP"),
    ("tiff", encoded(rgb(5), "TIFF"), "not a JPEG, PNG or WebP"),
    ("bomb by pixels", png_of_size(19_999, 19_999), "50000000"),
    ("bomb by side", png_of_size(20_001, 1), "20001"),
    ("too many bytes", encoded(rgb(5)) + bytes(32 << 20), "33554432"),
]


@pytest.mark.parametrize(("file", "text"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_bad_image_fails_alone(client, file, text):
    # A large picture keeps `preprocess` busy, so that those behind it are waiting and run as one batch.
    slow = Pending(client, [LARGE])
    before, bad, after = (Pending(client, [content]) for content in (GOOD[0], file, GOOD[1]))
    with pytest.raises(triton.InferenceServerException) as caught:
        bad.answer()
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert text in caught.value.message()
    assert ";" in caught.value.message()  # what to do about it follows
    assert slow.answer()["num_detections"].item() == 1
    assert before.answer()["num_detections"].item() == 11
    assert after.answer()["num_detections"].item() == 22


LARGE = encoded(rgb(1, (1500, 2000)), "JPEG")
GOOD = [standin.picture(11), standin.picture(22)]


def test_neighbours_really_share_a_batch(client):
    """What the tests above rely on: requests behind a large picture run together, the bad one among them.

    Five requests in fewer than four executions; on a busy machine the later ones may come too late, so there are
    several tries.
    """
    assert any(executions_of_a_burst(client) < 4 for _ in range(5))


def executions_of_a_burst(client):
    """How often `preprocess` ran for a large picture and four small files behind it, one of them bad."""
    preprocess = step_of(client, "preprocess")
    before = client.get_inference_statistics(preprocess).model_stats[0].execution_count
    slow = Pending(client, [LARGE])
    pending = [Pending(client, [file]) for file in (GOOD[0], b"bad", GOOD[1], GOOD[0])]
    for request in (slow, pending[0], *pending[2:]):
        request.answer()
    with pytest.raises(triton.InferenceServerException, match="not a JPEG"):
        pending[1].answer()
    return client.get_inference_statistics(preprocess).model_stats[0].execution_count - before


def test_bad_image_fails_its_own_batch_and_is_named(client):
    with pytest.raises(triton.InferenceServerException, match=r"image 2 of 3") as caught:
        send(client, [*GOOD, b"bad"])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_bombs_take_no_memory(client, server):
    process = next(
        folder
        for folder in Path("/proc").glob("[0-9]*")
        if f"{server.repository.model('preprocess').resolve()}/".encode() in _read(folder / "cmdline")
    )
    send(client, [LARGE])
    before = _peak_kib(process)
    for _ in range(3):
        with pytest.raises(triton.InferenceServerException):
            send(client, [png_of_size(19_999, 19_999)])
    # 400 megapixels would be 400 MB as gray, 1.2 GB as RGB; the file itself has 0.04 MB.
    assert _peak_kib(process) - before < 20 * 1024


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _peak_kib(process):
    lines = (process / "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


@pytest.mark.parametrize(
    ("shape", "dtype", "array"),
    [
        ([1, 1], "FP32", np.zeros((1, 1), np.float32)),  # wrong type
        ([1, 2], "BYTES", np.array([[b"a", b"b"]], np.object_)),  # two files in one slot
        ([1], "BYTES", np.array([b"a"], np.object_)),  # no batch dimension
        ([9, 1], "BYTES", np.array([[b"a"]] * 9, np.object_)),  # more than max_batch_size
    ],
)
def test_wrong_tensor(client, shape, dtype, array):
    tensor = triton.InferInput("image", shape, dtype)
    tensor.set_data_from_numpy(array)
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer("maskrcnn", [tensor])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert send(client, [GOOD[0]])["num_detections"].item() == 11


def test_formats_table_is_honest():
    """The tables hold what their names say; Pillow, which also decodes on the server, is asked on this side."""
    modes = {name: Image.open(io.BytesIO(file)).mode for name, file, *_ in FORMATS}
    assert modes["cmyk jpeg"] == "CMYK"
    assert modes["16-bit png"] in ("I;16", "I;16B", "I")
    assert modes["palette"] == modes["clear palette"] == "P"
    assert modes["rgba"] == "RGBA"
    assert modes["gray with alpha"] == "LA"
    assert modes["1 bit png"] == "1"
    assert Image.open(io.BytesIO(animation())).n_frames == 2
