"""How pictures are resized: each filter against the library it is named after, each size rule against its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
import reference
import torch
from maskline_train.data.resizing import SizeRule, resize_as_cv2, resize_as_torch, scaled_size
from torchvision.models.detection.transform import GeneralizedRCNNTransform

Size = tuple[int, int]

# (height, width) -> (height, width)
SIZES = {
    "enlarged": ((48, 64), (80, 107)),
    "shrunk": ((120, 161), (37, 50)),
    "shrunk a lot": ((300, 401), (11, 15)),
    "exactly half": ((74, 100), (37, 50)),  # a case of its own in OpenCV
    "half in height alone": ((74, 100), (37, 51)),
    "half in width alone": ((75, 100), (37, 50)),
    "a quarter": ((148, 200), (37, 50)),
    "twice": ((37, 50), (74, 100)),
    "portrait": ((64, 48), (107, 80)),
    "one side alone": ((53, 64), (53, 80)),
    "more than a strip": ((10, 12), (200, 9)),
    "one pixel": ((1, 1), (5, 7)),
    "to one pixel": ((31, 47), (1, 1)),
    "a line": ((1, 2000), (1, 133)),
    "a column": ((2000, 1), (133, 3)),
    "a narrow strip enlarged": ((3, 400), (8, 1066)),
}
EACH_SIZE = pytest.mark.parametrize(("size", "resized"), SIZES.values(), ids=SIZES)
# float32 between 0 and 255: sums of two products of rounded weights, a few units in the last place (1.5e-5).
FLOAT32 = 1e-4


def noise(size: Size, seed: int = 0) -> np.ndarray:
    """Neighbours that differ by as much as they can."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def random_sizes(seed: int, count: int) -> Iterator[tuple[Size, Size]]:
    for sides in np.random.default_rng(seed).integers(1, 70, (count, 4)).tolist():
        yield (sides[0], sides[1]), (sides[2], sides[3])


def by_torch(image: np.ndarray, size: Size) -> np.ndarray:
    floats = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(floats, size=size, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


def by_cv2(image: np.ndarray, size: Size) -> np.ndarray:
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)


@EACH_SIZE
def test_cv2_is_opencv_s_byte_for_byte(size: Size, resized: Size) -> None:
    np.testing.assert_array_equal(resize_as_cv2(noise(size), resized), by_cv2(noise(size), resized))


@EACH_SIZE
def test_torch_is_pytorch_s_to_half_a_level(size: Size, resized: Size) -> None:
    image = noise(size)
    # Without FMA PyTorch rounds an index of up to 2000 twice: 1.2e-4 px, times 255 levels from one pixel to the next.
    index = 1.2e-4 * 255 if torch.backends.cpu.get_cpu_capability() == "DEFAULT" else 0
    difference = np.abs(resize_as_torch(image, resized) - by_torch(image, resized))
    assert difference.max() <= 0.5 + FLOAT32 + index


def test_random_sizes() -> None:
    for i, (size, resized) in enumerate(random_sizes(1, 300)):
        image = noise(size, i)
        np.testing.assert_array_equal(resize_as_cv2(image, resized), by_cv2(image, resized))
        # Indices below 70: twice rounded, 1e-5 px, times 255.
        assert np.abs(resize_as_torch(image, resized) - by_torch(image, resized)).max() <= 0.5 + FLOAT32 + 3e-3


def test_both_are_the_bilinear_filter_of_the_definition() -> None:
    for i, (size, resized) in enumerate(random_sizes(2, 30)):
        image = noise(size, i)
        expected = reference.resized_picture(image, resized)
        # An index is rounded to float32 (below 70: 4e-6 px), times 255.
        assert np.abs(resize_as_torch(image, resized) - expected).max() <= 0.5 + FLOAT32 + 2e-3
        # Two weights rounded to 1/2048, times 255 each; truncated by up to 1 in four places before the last rounding.
        assert np.abs(resize_as_cv2(image, resized) - expected).max() <= 0.5 + 2 * 255 / 4096 + 1


@pytest.mark.parametrize("resize", [resize_as_cv2, resize_as_torch])
def test_flat_pictures_stay_flat_and_every_level_stays_itself(resize) -> None:
    for level in range(256):
        image = np.full((13, 9, 3), level, np.uint8)
        assert (resize(image, (31, 5)) == level).all()


@pytest.mark.parametrize("resize", [resize_as_cv2, resize_as_torch])
def test_channels_are_treated_alike(resize) -> None:
    image = noise((40, 30))
    np.testing.assert_array_equal(resize(image[..., ::-1], (23, 41)), resize(image, (23, 41))[..., ::-1])


def transformed(height: int, width: int, shorter: int, longer: int, device: str = "meta") -> torch.Tensor:
    """What torchvision makes of a picture; on `meta` sizes alone, without pixels."""
    transform = GeneralizedRCNNTransform(shorter, longer, [0.0] * 3, [1.0] * 3).eval()
    return transform.resize(torch.zeros(3, height, width, device=device))[0]


def test_floor_is_torchvision_s_for_every_size() -> None:
    rng = np.random.default_rng(3)
    cut = 0
    for i in range(600):  # torchvision takes 9 ms for each
        height, width = rng.integers(1, (100, 700, 2700, 20_000)[i % 4], 2).tolist()
        shorter = 800 if i % 2 else int(rng.integers(1, 900))
        longer = 1333 if i % 2 else int(rng.integers(shorter, 1500))
        if i % 7 == 0:
            height = width  # both sides are the shorter one
        if longer / max(height, width) * min(height, width) < 1:
            cut += 1  # torchvision refuses a side of less than a pixel
            assert 1 in scaled_size((height, width), shorter, longer, "floor")
            continue
        expected = tuple(transformed(height, width, shorter, longer).shape[1:])
        assert scaled_size((height, width), shorter, longer, "floor") == expected, (height, width, shorter, longer)
    assert cut < 60


@pytest.mark.parametrize("size", [(48, 64), (64, 48), (200, 90), (33, 180), (7, 5), (1, 3)])
def test_a_picture_of_torchvision_s_own_transform(size: Size) -> None:
    """Its pixels are normalised floats, and so are these, before and after."""
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    transform = GeneralizedRCNNTransform(60, 100, mean, std).eval()
    image = noise(size)
    images, _ = transform([torch.from_numpy(image).permute(2, 0, 1).float() / 255])
    (resized,) = images.image_sizes
    expected = images.tensors[0, :, : resized[0], : resized[1]].permute(1, 2, 0).numpy()
    levels = (expected * np.array(std, np.float32) + np.array(mean, np.float32)) * 255
    assert scaled_size(size, 60, 100, "floor") == tuple(resized)
    # As above; normalising and back adds roundings of values up to 3, 2.4e-7, times 58 levels.
    assert np.abs(resize_as_torch(image, resized) - levels).max() <= 0.5 + FLOAT32 + 1e-3


def detectron2_size(height: int, width: int, short_edge: int, max_size: int) -> Size:
    """The published two steps of `ResizeShortestEdge.get_output_shape`, in float64."""
    scale = np.float64(short_edge) / np.float64(min(height, width))
    sides = np.float64([short_edge, scale * width] if height < width else [scale * height, short_edge])
    if sides.max() > max_size:
        sides = sides * (np.float64(max_size) / sides.max())
    return int(sides[0] + 0.5), int(sides[1] + 0.5)


def test_detectron2_s_two_steps() -> None:
    rng = np.random.default_rng(4)
    for i in range(3000):
        height, width = rng.integers(1, (100, 700, 2700, 20_000)[i % 4], 2).tolist()
        shorter = 800 if i % 2 else int(rng.integers(1, 900))
        longer = 1333 if i % 2 else int(rng.integers(shorter, 1500))
        expected = detectron2_size(height, width, shorter, longer)
        got = scaled_size((height, width), shorter, longer, "detectron2")
        assert got == (max(1, expected[0]), max(1, expected[1])), (height, width, shorter, longer)


def maskrcnn_benchmark_size(height: int, width: int, min_size: int, max_size: int) -> Size:
    """The rule of `Resize.get_size` in float64, for (height, width)."""
    sides = np.float64([height, width])
    shorter = np.float64(min_size)
    if sides.max() / sides.min() * shorter > max_size:
        shorter = np.rint(max_size * sides.min() / sides.max())
    if height == width:
        return int(shorter), int(shorter)
    resized = np.where(sides == sides.min(), shorter, np.trunc(shorter * sides.max() / sides.min()))
    return int(resized[0]), int(resized[1])


def detectron_size(height: int, width: int, target_size: int, max_size: int) -> Size:
    """The rule of `get_target_scale` in float64, and `cvRound` of both sides."""
    sides = np.float64([height, width])
    scale = target_size / sides.min()
    if np.rint(scale * sides.max()) > max_size:
        scale = max_size / sides.max()
    return int(np.rint(sides[0] * scale)), int(np.rint(sides[1] * scale))


def sizes_of_every_kind() -> Iterator[tuple[int, int, int, int]]:
    """Heights, widths, wanted sides: small and large pictures, squares, and those that are halves of a pixel often."""
    rng = np.random.default_rng(5)
    for i in range(6000):
        height, width = rng.integers(1, (60, 700, 2700, 20_000)[i % 4], 2).tolist()
        shorter = 800 if i % 2 else int(rng.integers(1, 900))
        longer = 1333 if i % 2 else int(rng.integers(shorter, 1500))
        if i % 7 == 0:
            height = width
        if i % 11 == 0:
            width = 2 * height  # 1333 is odd: its half is none of a pixel
        yield height, width, shorter, longer


@pytest.mark.parametrize(
    ("rule", "oracle"), [("maskrcnn_benchmark", maskrcnn_benchmark_size), ("detectron", detectron_size)]
)
def test_the_sizes_of_detectron_and_maskrcnn_benchmark(rule: SizeRule, oracle: Callable[..., Size]) -> None:
    without_a_pixel = others = 0
    for height, width, shorter, longer in sizes_of_every_kind():
        expected = oracle(height, width, shorter, longer)
        got = scaled_size((height, width), shorter, longer, rule)
        if 0 in expected:
            without_a_pixel += 1  # of which neither makes a picture
            assert 1 == min(got) <= max(got) <= longer
            continue
        others += got != scaled_size((height, width), shorter, longer, "round")
        assert got == expected, (height, width, shorter, longer)
    assert without_a_pixel < 300
    assert others > 100  # so that the rule is one of its own


@pytest.mark.parametrize(
    ("rule", "size", "expected"),
    [
        ("round", (480, 640), (800, 1067)),  # 1066.67
        ("floor", (480, 640), (800, 1066)),
        ("detectron2", (480, 640), (800, 1067)),
        ("round", (205, 2666), (103, 1333)),  # 102.5 in one step,
        ("detectron2", (205, 2666), (102, 1333)),  # 102.49999999999999 in two
        ("floor", (1, 4000), (1, 1333)),  # 0.33: never less than a pixel
        ("round", (1, 4000), (1, 1333)),
        ("detectron2", (4000, 1), (1333, 1)),
        ("maskrcnn_benchmark", (480, 640), (800, 1066)),  # 1066.67
        ("maskrcnn_benchmark", (205, 2666), (102, 1326)),  # 102.5 to even; 1326.48
        ("maskrcnn_benchmark", (1000, 500), (1332, 666)),  # 666.5 to even
        ("maskrcnn_benchmark", (700, 700), (800, 800)),
        ("maskrcnn_benchmark", (1, 4000), (1, 1333)),
        ("detectron", (480, 640), (800, 1067)),
        ("detectron", (500, 1000), (666, 1333)),  # 666.5 to even
        ("detectron", (205, 2666), (102, 1333)),  # 102.5 to even
        ("detectron", (640, 400), (1280, 800)),
        ("detectron", (4000, 1), (1333, 1)),
    ],
)
def test_sizes_worked_out_by_hand(rule: SizeRule, size: Size, expected: Size) -> None:
    assert scaled_size(size, 800, 1333, rule) == expected
