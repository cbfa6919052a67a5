"""What is checked and encoded before anything is sent."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from maskline_client import InvalidImage
from maskline_client.images import decode_rgb, encode, list_images
from PIL import Image
from support.data.image_files import FOREIGN

RAMP = (np.arange(12 * 10 * 3).reshape(12, 10, 3) % 251).astype(np.uint8)


def file_of(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_file_is_sent_as_it_is(tmp_path: Path, image_format: str) -> None:
    data = file_of(Image.fromarray(RAMP), image_format)
    path = tmp_path / "picture"  # the name says nothing, the first bytes do
    path.write_bytes(data)
    assert encode(path) == encode(str(path)) == encode(data) == data


@pytest.mark.parametrize(
    "array",
    [
        RAMP,  # RGB
        np.dstack([RAMP, RAMP[:, :, :1]]),  # RGBA
        RAMP[:, :, 0],  # gray
        RAMP[:, :, 0].astype(np.uint16) * 257,  # 16-bit gray
        RAMP[::2, ::-1],  # not contiguous
        RAMP[:1, :1],  # one pixel
    ],
)
def test_an_array_arrives_without_loss(array: np.ndarray) -> None:
    np.testing.assert_array_equal(pixels(encode(array)), array)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((3, 8, 9), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_an_array_of_another_kind_is_refused_with_its_shape_and_type(array: np.ndarray) -> None:
    with pytest.raises(InvalidImage, match=rf"got shape \[{array.shape[0]}.*{array.dtype}, expected"):
        encode(array)


def test_a_pillow_image_is_sent_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    image = Image.open(io.BytesIO(file_of(Image.fromarray(RAMP), exif=exif)))
    np.testing.assert_array_equal(pixels(encode(image)), np.rot90(RAMP, -1))


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_gray_of_sixteen_bits_is_scaled_and_not_cut_at_255(mode: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    array = values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])
    image = Image.fromarray(array)
    assert image.mode == mode
    assert np.asarray(decode_rgb(encode(image)))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_transparent_palette_image_keeps_its_transparency() -> None:
    image = Image.fromarray(RAMP).convert("RGBA")
    image.putalpha(0)
    assert pixels(encode(image.convert("PA")))[..., 3].max() == 0


def test_a_broken_file_that_pillow_opened_is_refused() -> None:
    image = Image.open(io.BytesIO(file_of(Image.fromarray(RAMP))[:-40]))
    with pytest.raises(InvalidImage, match="cannot be written as PNG"):
        encode(image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "HSV", "YCbCr", "I", "F"])
def test_every_mode_of_a_pillow_image_can_be_sent(mode: str) -> None:
    data = encode(
        Image.fromarray(RAMP).convert("L").convert(mode) if mode in "IF" else Image.fromarray(RAMP).convert(mode)
    )
    assert pixels(data).shape[:2] == RAMP.shape[:2]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("missing.jpg", None, "got no such file"),
        ("empty.jpg", b"", "got an empty file, expected JPEG, PNG or WebP"),
        ("text.jpg", b"hello world, no image", "begins with b'hello world,'"),
        ("old.gif", b"GIF89a" + bytes(20), "begins with b'GIF89a"),
        ("sound.webp", b"RIFF\0\0\0\0WAVEfmt ", "expected JPEG, PNG or WebP"),
    ],
)
def test_a_file_that_is_no_image_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | None, text: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidImage) as caught:
        encode(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert text in str(caught.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="got a folder"):
        encode(tmp_path)


def test_a_folder_lists_its_images_in_order_and_hides_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "sub/c.webp", ".cache/d.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)] == ["a.jpg", "b.PNG", "sub/c.webp"]


def test_a_folder_is_listed_whole(tmp_path: Path) -> None:
    """Linked folders too, but none of those around them; a link to nothing is not passed over in silence."""
    inside, beside = tmp_path / "in", tmp_path / "beside"
    for path in (inside / "a.jfif", inside / "b.jpe", beside / "c.jpg"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    (inside / "linked").symlink_to(beside)
    (inside / "around").symlink_to(tmp_path)
    (inside / "gone.png").symlink_to(tmp_path / "nothing")
    names = [str(path.relative_to(inside)) for path in list_images(inside)]
    assert names == ["a.jfif", "around/beside/c.jpg", "b.jpe", "gone.png", "linked/c.jpg"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"")
    listing = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "closed":  # not by chmod: root may read everything
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(InvalidImage, match="closed: permission denied, expected a folder that this user may read"):
        list_images(tmp_path)


def test_a_folder_without_images_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="a folder without images"):
        list_images(tmp_path)


def test_the_picture_to_draw_on_is_what_the_server_sees() -> None:
    half = np.full((2, 2, 4), (200, 100, 0, 128), np.uint8)
    # 200 * 128 / 255 = 100.4: alpha over black; Pillow rounds within one step
    assert np.abs(np.asarray(decode_rgb(file_of(Image.fromarray(half)))).astype(int) - (100, 50, 0)).max() <= 1
    deep = np.array([[0, 257, 65535]], np.uint16)
    assert np.asarray(decode_rgb(file_of(Image.fromarray(deep))))[0, :, 0].tolist() == [0, 1, 255]
    with pytest.raises(InvalidImage, match="does not decode"):
        decode_rgb(file_of(Image.fromarray(RAMP))[:60])


@pytest.mark.parametrize("image_format", FOREIGN)
def test_a_file_of_another_format_is_refused_whatever_its_name(tmp_path: Path, image_format: str) -> None:
    """Pillow has readers for some forty formats, with faults of their own; a server of ours takes three."""
    assert Image.open(io.BytesIO(FOREIGN[image_format])).format == image_format  # Pillow alone would take it
    path = tmp_path / "picture.jpg"
    path.write_bytes(FOREIGN[image_format])
    refused = r"got a file that begins with b['\"].*, expected JPEG, PNG or WebP; convert it first"
    for call, what in ((encode, path), (encode, FOREIGN[image_format]), (decode_rgb, FOREIGN[image_format])):
        with pytest.raises(InvalidImage, match=refused) as caught:
            call(what)  # type: ignore[operator]
        assert "\n" not in str(caught.value)
