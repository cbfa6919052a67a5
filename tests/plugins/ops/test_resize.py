"""The host library's filters: the bytes of Pillow, and of numpy, which tests/unit/train/data/test_resizing.py tests."""

from __future__ import annotations

import ctypes

import device
import numpy as np
import pytest
from maskline_host import HostLibraryError, library
from maskline_host.resize import FILTERS, Config, resize
from maskline_train.data.resizing import resize_as_cv2, resize_as_torch
from PIL import Image

Size = tuple[int, int]


def by_pillow(image: np.ndarray, size: Size) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


PEERS = {"cv2": resize_as_cv2, "torch": resize_as_torch, "pillow": by_pillow}
EACH_FILTER = pytest.mark.parametrize("name", FILTERS)


def noise(size: Size, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@EACH_FILTER
@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1067)),  # several threads
        ((1500, 2000), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((200, 300), (100, 150)),  # half: a case of its own in OpenCV
        ((2000, 3000), (1000, 1500)),  # and by several threads
        ((200, 300), (100, 151)),
        ((100, 150), (200, 300)),
        ((1, 1), (3, 5)),
        ((50, 70), (1, 1)),
        ((1, 5000), (1, 1333)),
        ((5000, 1), (1333, 1)),
        ((3, 20_000), (1, 1333)),
        ((3, 20_000), (3, 2)),  # thousands of weights, rounded each
        ((427, 640), (800, 1199)),
    ],
)
@pytest.mark.parametrize("threads", [0, 1, 3])
def test_the_bytes_of_the_peer(name: str, size: Size, resized: Size, threads: int) -> None:
    if name == "pillow" and resized[0] < size[0]:
        with pytest.raises(HostLibraryError, match=rf"resized height: got {resized[0]}, expected .* {size[0]} or more"):
            resize(noise(size), resized, name, threads)
        return
    found = resize(noise(size), resized, name, threads)
    np.testing.assert_array_equal(found, PEERS[name](noise(size), resized))


@EACH_FILTER
def test_random_sizes(name: str) -> None:
    rng = np.random.default_rng(5)
    for i, (height, width, resized_h, resized_w) in enumerate(rng.integers(1, 100, (400, 4)).tolist()):
        resized_h = max(resized_h, height) if name == "pillow" else resized_h
        image = noise((height, width), i)
        expected = PEERS[name](image, (resized_h, resized_w))
        np.testing.assert_array_equal(resize(image, (resized_h, resized_w), name), expected)


@EACH_FILTER
def test_a_part_of_a_picture_is_read_as_it_lies(name: str) -> None:
    """An array that is not contiguous is copied, not misread."""
    part = noise((60, 80))[5:45, ::-2]
    np.testing.assert_array_equal(resize(part, (43, 27), name), PEERS[name](part, (43, 27)))


@pytest.mark.parametrize("level", [0, 1, 254, 255])
def test_a_plain_picture_stays_as_it_is_however_many_weights_are_rounded(level: int) -> None:
    plain = np.full((2, 60_000, 3), level, np.uint8)
    for size in ((2, 1), (3, 1), (2, 7)):
        assert (resize(plain, size, "pillow") == level).all()


@pytest.mark.parametrize(
    ("image", "size", "name", "text"),
    [
        (noise((4, 4)), (2, 2), "lanczos", "filter: got 'lanczos', expected one of cv2, torch, pillow"),
        (noise((4, 4)).astype(np.float32), (2, 2), "cv2", "image: got float32, expected uint8"),
        (noise((4, 4))[..., 0], (2, 2), "cv2", r"image: got shape \[4, 4\], expected \[any,any,3\]"),
        (noise((0, 4)), (2, 2), "cv2", "Resize: height: got 0, expected 1 or more"),
        (noise((4, 0)), (2, 2), "torch", "Resize: width: got 0, expected 1 or more"),
        (noise((4, 4)), (0, 2), "torch", "Resize: resized height: got 0, expected 1 or more"),
        (noise((4, 4)), (2, -1), "cv2", "Resize: resized width: got -1, expected 1 or more"),
    ],
)
def test_what_cannot_be_resized_is_refused(image: np.ndarray, size: Size, name: str, text: str) -> None:
    with pytest.raises(HostLibraryError, match=text):
        resize(image, size, name)


def test_another_build_and_another_filter_are_refused() -> None:
    device.built(device.HOST)
    config = Config(height=1, width=1, resized_height=1, resized_width=1, filter=3)
    host = library.load()
    assert host.maskline_host_resize(ctypes.byref(config), None, None, 1) == 1
    assert host.maskline_last_error() == b"Resize: filter: got 3, expected 0 (cv2), 1 (torch) or 2 (pillow)"
    config.interface += 1
    assert host.maskline_host_resize(ctypes.byref(config), None, None, 1) == 1
    assert host.maskline_last_error().startswith(b"Resize: config: got interface ")
