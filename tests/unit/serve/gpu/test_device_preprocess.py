"""Decoding and resizing where an instance is, on the CPU: what is left to the host, and how far from it the rest is."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import skimage.data
from contract.test_preprocess import EACH_SPEC, LIMITS, filters, images
from maskline_export.onnx_stages import to_canvas
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from support.data import image_files
from support.serving import model_files

device_decoder = model_files.load("models/preprocess/1/device_decoder.py")
device_canvas = model_files.load("models/preprocess/1/device_canvas.py")
HOST = device_decoder.HOST

# Pillow rounds to 8 bits twice, the others once, and each time one may go up where the other goes down.
LIMIT = {"pillow": 2, "torch": 1, "cv2": 1}
# Of bytes that differ at all: what rounds by another rule, down for one, differs in half of them.
UNEQUAL = 0.25
_RGB = {"subsampling": 0, "keep_rgb": True}  # three components that are no YCbCr


@pytest.fixture(scope="module")
def decoder():
    return device_decoder.DeviceDecoder(HOST, 2)


def decoded(decoder, *files: bytes) -> list:
    return decoder.decode(files, [images.opened(file, LIMITS) for file in files])


def photographs() -> dict[str, bytes]:
    """Real ones, as cameras and programs write them: lying, standing, every subsampling, progressive, gray, turned."""
    astronaut, cat = (Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea"))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "420": image_files.encoded(astronaut, "JPEG", quality=90),
        "422": image_files.encoded(cat, "JPEG", subsampling="4:2:2"),
        "444": image_files.encoded(cat.rotate(90, expand=True), "JPEG", subsampling="4:4:4"),
        "progressive": image_files.encoded(cat, "JPEG", progressive=True),
        "gray": image_files.encoded(astronaut.convert("L"), "JPEG"),
        "turned": image_files.encoded(cat, "JPEG", exif=turned),
    }


PHOTOGRAPHS = photographs()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_photograph_is_decoded_as_by_pillow_byte_for_byte(decoder, name: str) -> None:
    """On the CPU both are libjpeg-turbo. What nvJPEG gives on a card, `make owed ONLY=device_decode` measures."""
    (found,) = decoded(decoder, PHOTOGRAPHS[name])
    expected = np.asarray(images.load_rgb(PHOTOGRAPHS[name], LIMITS))
    np.testing.assert_array_equal(np.asarray(found).transpose(1, 2, 0), expected)


def test_every_kind_of_file_is_decoded_as_by_pillow_or_left_to_it(decoder) -> None:
    files = image_files.good_files()
    found = dict(zip(files, decoded(decoder, *files.values()), strict=True))
    for name, picture in found.items():
        if picture is not None:
            expected = np.asarray(images.load_rgb(files[name], LIMITS))
            np.testing.assert_array_equal(np.asarray(picture).transpose(1, 2, 0), expected, err_msg=name)
    left = {name for name, picture in found.items() if picture is None}
    assert left == {name for name in files if "jpeg" not in name and "exif" not in name} | {"cmyk jpeg", "broken exif"}


def with_xmp() -> bytes:
    """A JPEG whose orientation stands in its XMP alone, which Pillow reads."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"></rdf:Description></x:xmpmeta>'
    return image_files.encoded(image_files.picture(), "JPEG", xmp=xmp)


LEFT = {
    "rgb": image_files.encoded(image_files.picture(), "JPEG", **_RGB),
    "cut short": PHOTOGRAPHS["420"][:-1000],
    "trailing bytes": PHOTOGRAPHS["420"] + bytes(2),
    "orientation in xmp": with_xmp(),
    "too large": image_files.encoded(Image.new("L", (5001, 5000)), "JPEG"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_a_card_would_answer_otherwise_is_left_to_the_host(name: str) -> None:
    header = Image.open(io.BytesIO(PHOTOGRAPHS["420"]), formats=images.FORMATS)
    assert device_decoder.takes(PHOTOGRAPHS["420"], header)
    assert not device_decoder.takes(LEFT[name], images.opened(LEFT[name], LIMITS))


def test_three_components_that_are_named_red_green_and_blue_are_left_to_the_host() -> None:
    """A file of RGB without the mark that says so: libjpeg knows by the names of the components alone."""
    file = LEFT["rgb"]
    start = file.index(b"\xff\xee")  # Adobe's segment
    bare = file[:start] + file[start + 2 + int.from_bytes(file[start + 2 : start + 4], "big") :]
    header = Image.open(io.BytesIO(bare), formats=images.FORMATS)
    assert "adobe_transform" not in header.info
    assert not device_decoder.takes(bare, header)


def test_files_that_no_decoder_takes_cost_their_neighbours_nothing(decoder) -> None:
    """A whole header and no picture behind it: past `takes`, and not past the decoder."""
    file = PHOTOGRAPHS["444"]
    broken = file[: file.index(b"\xff\xda")] + b"\xff\xd9"
    header = images.opened(file, LIMITS)
    found = decoder.decode([file, broken, b"", file], [header, header, None, header])
    assert [picture is None for picture in found] == [False, True, True, False]


@EACH_SPEC
def test_a_canvas_is_the_hosts_within_a_rounding(decoder, spec: PreprocessingSpec) -> None:
    geometry = images.Geometry(
        spec.shorter_side_px, spec.longer_side_px, spec.canvases, spec.canvas_multiple, spec.size_rule
    )
    resize, _ = filters.choose(spec.resize_filter)
    files = list(PHOTOGRAPHS.values())
    prepared = [images.prepare(file, geometry, LIMITS, resize) for file in files]
    expected, _, _ = images.compose(prepared, geometry)
    pictures = decoded(decoder, *files)
    resized = [geometry.resized_size(tuple(picture.shape[1:])) for picture in pictures]
    made = device_canvas.DeviceCanvas(spec.resize_filter, HOST)
    # The last one as the host resizes it, where the device does not take it: to be put there as it is.
    pictures[-1] = prepared[-1][0]
    canvas = made.compose(pictures, resized, expected.shape[1:3]).numpy()
    assert (canvas.shape, canvas.dtype) == (expected.shape, np.uint8)
    for ours, theirs, (h, w) in zip(canvas, expected, resized, strict=True):
        assert not ours[h:].any()
        assert not ours[:, w:].any()
        off = np.abs(ours.astype(np.int16) - theirs)
        assert off.max() <= LIMIT[spec.resize_filter]
        assert (off[:h, :w] > 0).mean() <= UNEQUAL
    np.testing.assert_array_equal(canvas[-1], expected[-1])


@pytest.mark.parametrize("antialias", to_canvas.FILES)
def test_the_graphs_are_what_the_exporter_makes(antialias: bool) -> None:
    file = model_files.TRITON_REPO / "models" / "preprocess" / "1" / to_canvas.FILES[antialias]
    ours, made = onnx.load(file), to_canvas.canvas_graph(antialias)
    ours.producer_version = made.producer_version = ""
    assert ours == made


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"nvImageCodec on GPU 99: .*"):
        device_decoder.DeviceDecoder(99, 1)
