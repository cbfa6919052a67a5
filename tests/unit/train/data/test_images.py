"""Decoding and preprocessing against answers worked out by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_coco.image_limits import ImageLimits
from maskline_train.data.canvas import choose_canvas, preprocess, preprocess_batch, resize_geometry
from maskline_train.data.errors import ImageError
from maskline_train.data.images import FORMATS, decode_image
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from support.data import image_files

SPEC = PreprocessingSpec()
SMALL = PreprocessingSpec(shorter_side_px=64, longer_side_px=96, canvases=((64, 96), (96, 64)))


def encode(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def ramp(height: int = 4, width: int = 6) -> np.ndarray:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})],
)
def test_lossless_formats_come_back_exactly(file_format, options):
    assert np.array_equal(decode_image(encode(Image.fromarray(ramp()), file_format, **options)), ramp())


def test_jpeg_and_a_path(tmp_path):
    path = tmp_path / "flat.jpg"
    path.write_bytes(encode(Image.new("RGB", (20, 10), (200, 100, 50)), "JPEG", quality=95))
    pixels = decode_image(path)
    assert pixels.shape == (10, 20, 3)
    assert np.abs(pixels.astype(int) - [200, 100, 50]).max() <= 2  # JPEG's own rounding of a flat colour


def test_grayscale_palette_and_cmyk():
    gray = decode_image(encode(Image.new("L", (3, 2), 77)))
    assert gray.shape == (2, 3, 3)
    assert (gray == 77).all()
    palette = Image.new("P", (3, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert (decode_image(encode(palette)) == [10, 20, 30]).all()
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # full magenta and yellow: red
    assert np.abs(decode_image(encode(cmyk, "JPEG", quality=95)).astype(int) - [255, 0, 0]).max() <= 2


def test_sixteen_bits_are_divided_by_257_and_rounded():
    values = np.array([[0, 128, 129, 257, 32896, 65535]], np.uint16)  # 128/257 < 0.5 < 129/257; 32896 = 128 * 257
    assert decode_image(encode(Image.fromarray(values)))[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_float_tiff_with_nan_is_clipped():
    values = np.array([[-5.0, np.nan, 257.0, 1e9]], np.float32)
    assert decode_image(encode(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 0, 1, 255]


def test_alpha_is_composited_over_black():
    rgba = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    rgba.putpixel((1, 0), (200, 100, 50, 0))
    assert decode_image(encode(rgba))[0].tolist() == [[200, 100, 50], [0, 0, 0]]
    half = Image.new("LA", (1, 1), (200, 51))  # 51/255 = 0.2
    assert decode_image(encode(half))[0, 0].tolist() == [40, 40, 40]


def test_a_transparent_palette_colour_is_black():
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([9, 9, 9, 10, 20, 30])
    palette.putpixel((0, 0), 0)
    assert decode_image(encode(palette, transparency=0))[0].tolist() == [[0, 0, 0], [10, 20, 30]]


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation(file_format):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert (decode_image(data) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),  # mirrored
        (3, lambda a: a[::-1, ::-1]),  # half turn
        (4, lambda a: a[::-1]),  # upside down
        (5, lambda a: a.transpose(1, 0, 2)),  # transposed
        (6, lambda a: np.rot90(a, -1)),  # the camera was turned left: turn right
        (7, lambda a: a[::-1, ::-1].transpose(1, 0, 2)),  # transposed, half turn
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(ramp()), "PNG", exif=exif)
    assert np.array_equal(decode_image(data), upright(ramp()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_counts_as_none():
    data = encode(Image.fromarray(ramp()), "PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff garbage")
    assert np.array_equal(decode_image(data), ramp())


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff\xe0 nothing", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ImageError, match="expected"):
        decode_image(data)


@pytest.mark.parametrize("file_format", sorted(set(image_files.FOREIGN) - set(FORMATS)))
def test_a_format_that_no_data_set_holds_is_refused_whatever_its_name(tmp_path, file_format):
    path = tmp_path / "picture.jpg"
    path.write_bytes(image_files.FOREIGN[file_format])
    assert Image.open(path).format == file_format  # Pillow alone would take it
    refused = r"picture.jpg: cannot be decoded \(it begins with b['\"].*\); expected a JPEG, PNG, .* file; convert it"
    with pytest.raises(ImageError, match=refused) as caught:
        decode_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(file_format, share):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    data = encode(Image.fromarray(noise), file_format)
    with pytest.raises(ImageError):
        decode_image(data[: int(len(data) * share)])


def test_limits_are_checked_before_decoding():
    data = encode(Image.new("RGB", (30, 20)))
    with pytest.raises(ImageError, match="got 30x20 pixels, expected at most 500 pixels"):
        decode_image(data, ImageLimits(max_pixels=500))
    with pytest.raises(ImageError, match="25 a side"):
        decode_image(data, ImageLimits(max_side_px=25))
    with pytest.raises(ImageError, match=f"got {len(data)} bytes, expected at most 10"):
        decode_image(data, ImageLimits(max_bytes=10))
    assert decode_image(data, ImageLimits(max_pixels=600, max_side_px=30, max_bytes=len(data))).shape == (20, 30, 3)


@pytest.mark.parametrize("side", [8_000, 40_000])  # beyond our limit; beyond the one where Pillow itself stops
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    tiny = encode(Image.new("RGB", (1, 1)))

    chunk = b"IHDR" + header
    bomb = tiny[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + tiny[33:]
    with pytest.raises(ImageError, match="make it smaller"):
        decode_image(bomb)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.png: got no such file, expected an image; check the name"):
        decode_image(tmp_path / "no.png")
    with pytest.raises(FileNotFoundError, match="got no such file, expected an image"):
        decode_image(tmp_path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),  # 640 * 800 / 480 = 1066.67
        ((640, 480), (1067, 800)),
        ((500, 1000), (667, 1333)),  # the longer side decides: 500 * 1.333 = 666.5, rounded up
        ((1, 1), (800, 800)),
        ((1, 3000), (1, 1333)),  # 1 * 0.444 rounds to 0, at least 1
        ((3000, 4000), (800, 1067)),
        ((800, 1333), (800, 1333)),
    ],
)
def test_resize_geometry(size, expected):
    assert resize_geometry(size, SPEC) == expected


def test_a_side_that_no_canvas_holds_is_cut():
    wide = PreprocessingSpec(shorter_side_px=64, longer_side_px=200, canvases=((64, 96), (96, 64)))
    assert resize_geometry((100, 250), wide) == (64, 64)  # 64x160 fits none; the last of two equal areas is 96x64
    assert resize_geometry((100, 120), wide) == (64, 77)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(800, 1333)], (800, 1344)),
        ([(1333, 800)], (1344, 800)),
        ([(800, 800)], (800, 1344)),  # both fit; ties as listed
        ([(800, 1067), (1067, 800)], (1344, 1344)),
    ],
)
def test_choose_canvas(sizes, expected):
    assert choose_canvas(sizes, SPEC) == expected


def test_canvases_without_a_common_one_are_joined():
    assert choose_canvas([(64, 96), (96, 64)], SMALL) == (96, 96)
    with pytest.raises(ValueError, match="at least one"):
        choose_canvas([], SMALL)
    with pytest.raises(ValueError, match="resize_geometry"):
        choose_canvas([(97, 97)], SMALL)


def test_preprocess_pads_right_and_bottom_and_reports_sizes():
    image = np.full((48, 60, 3), 9, np.uint8)
    canvas, info = preprocess(image, SMALL)
    assert canvas.shape == (64, 96, 3)
    assert (canvas[:64, :80] == 9).all()
    assert (canvas[:, 80:] == 0).all()
    assert info.dtype == np.float32
    assert info.tolist() == pytest.approx([64, 80, 64 / 48, 80 / 60, 48, 60])


def test_resizing_is_pillows_and_is_skipped_for_equal_sizes():
    image = np.random.default_rng(1).integers(0, 256, (64, 90, 3), np.uint8)
    canvas, _ = preprocess(image, SMALL)
    assert np.array_equal(canvas[:64, :90], image)
    image = image[:50]
    canvas, _ = preprocess(image, SMALL)  # 50x90: limited by 96 / 90
    expected = np.asarray(Image.fromarray(image).resize((96, 53), Image.Resampling.BILINEAR))
    assert np.array_equal(canvas[:53, :96], expected)


def test_a_batch_is_its_images_on_a_shared_canvas():
    rng = np.random.default_rng(2)
    images = [rng.integers(0, 256, (30, 44, 3), np.uint8), rng.integers(0, 256, (44, 30, 3), np.uint8)]
    canvases, infos = preprocess_batch(images, SMALL)
    assert canvases.shape == (2, 96, 96, 3)
    for image, canvas, info in zip(images, canvases, infos, strict=True):
        alone, info_alone = preprocess(image, SMALL)
        height, width = alone.shape[:2]
        assert np.array_equal(canvas[:height, :width], alone)
        assert not canvas[height:].any()
        assert not canvas[:, width:].any()
        assert np.array_equal(info, info_alone)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_every_size_fits_a_canvas_and_keeps_its_shape(height, width):
    resized = resize_geometry((height, width), SPEC)
    canvas = choose_canvas([resized], SPEC)
    assert 1 <= resized[0] <= canvas[0]
    assert 1 <= resized[1] <= canvas[1]
    scale = min(800 / min(height, width), 1333 / max(height, width))
    assert resized[0] == pytest.approx(max(height * scale, 1), abs=0.51)  # half a pixel of rounding
    assert resized[1] == pytest.approx(max(width * scale, 1), abs=0.51)
