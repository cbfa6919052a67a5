"""MaskRLE on every device and type: the very runs of the paste rule, and pycocotools' very bytes."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import sys
from typing import Any, Literal

import device
import numpy as np
import numpy.typing as npt
import pytest
import reference
from device import DEVICES, HOSTS, SIMT_SEEDS
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_rle_runner import MASK_TYPES, expected_counts, info_of, run, text_of
from maskline_host import HostLibraryError
from maskline_host.mask_rle import MAX_SIDE, PASTE_RULES, config_of, encode
from maskline_train.evaluation.paste import encode_masks
from support.serving import model_files

geometry = model_files.load("models/postprocess/1/geometry.py")
rle = model_files.load("models/postprocess/1/rle.py")  # numpy, what the library replaces

DEVICES_AND_TYPES = (
    *((host, "float32") for host in HOSTS),
    *(("simt", dtype) for dtype in MASK_TYPES),
    *(("ort-cpu", dtype) for dtype in MASK_TYPES),
    *(pytest.param("ort-simt", dtype, marks=pytest.mark.long) for dtype in MASK_TYPES),
    *(pytest.param("cuda", dtype, marks=pytest.mark.gpu) for dtype in MASK_TYPES),
    *(pytest.param("ort-cuda", dtype, marks=pytest.mark.gpu) for dtype in MASK_TYPES),
)

HEIGHT, WIDTH = 22, 37
# Boxes that a person can think through.
SPECIAL = np.array(
    [
        [2, 3, 30, 19],  # whole pixels
        [2.3, 3.7, 31.1, 18.9],  # fractions
        [0, 0, WIDTH, HEIGHT],  # the whole image
        [0.5, 0.5, WIDTH - 0.5, HEIGHT - 0.5],  # edges on pixel centres
        [0, 4, 12, HEIGHT],  # touches the lower edge only
        [5, 0, 9, HEIGHT],  # from edge to edge: columns touch
        [-4, -3.5, 6, 7],  # leaves at the top left
        [30.5, 8.2, 50, 45],  # leaves at the bottom right
        [-100, -80, 150, 90],  # greater than the image
        [-1e3, -1e3, 1e3, 1.1e3],
        [-20, -20, -5, -5],  # outside
        [40, 30, 50, 35],
        [5.1, 5.1, 5.4, 5.4],  # between two pixel centres
        [4.2, 4.2, 4.9, 4.9],  # one pixel centre
        [5.5, 5.5, 5.500001, 5.500001],  # one pixel centre on its edge
        [7, 2, 7.6, 20],  # one column
        [3, 9.4, 33, 9.6],  # one row
        [5, 5, 5, 9],  # no width
        [5, 5, 9, 5],  # no height
        [9, 5, 5, 7],  # turned around
        [0, 0, 0, 0],  # a padded row
    ],
    np.float32,
)
NOT_FINITE = np.array(
    [[np.nan, 0, 9, 9], [0, np.nan, 9, 9], [0, 0, np.nan, 9], [0, 0, 9, np.nan], [np.nan] * 4], np.float32
)
INFINITE = np.array([[0, 0, np.inf, np.inf], [-np.inf, -np.inf, np.inf, np.inf], [np.inf, 0, np.inf, 9]], np.float32)


def make_masks(count: int, side: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """[count,M,M]: full, empty, noise, halves, a checkerboard, and blobs with soft edges, in turn.

    All are 256ths, which every type of the op holds.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j] if side > 1 else np.zeros((2, 1, 1))
    kinds = [
        lambda: np.full((side, side), 256),
        lambda: np.zeros((side, side)),
        lambda: rng.integers(0, 257, (side, side)),
        lambda: 256 * (x < 0.1),  # 1 meets 0: the crossing lies half way between two cells
        lambda: 256 * (np.indices((side, side)).sum(0) % 2),
        *[lambda: np.clip(160 * (1.4 - np.hypot(y, x)) + rng.normal(0, 25, (side, side)), 0, 256)] * 4,
    ]
    steps = np.stack([kinds[i % len(kinds)]() for i in range(count)])
    return (np.floor(steps) / 256).astype(np.float32)


def random_boxes(count: int, size: tuple[int, int], seed: int = 0) -> npt.NDArray[np.float32]:
    """[count,4] of all sizes by logarithm, some partly out of the frame."""
    rng, (height, width) = np.random.default_rng(seed), size
    sides = np.array([width, height]) * 10.0 ** rng.uniform(-2, 0.1, (count, 2))
    low = rng.uniform(-0.1, 1.1, (count, 2)) * (np.array([width, height]) - sides)
    return np.concatenate([low, low + sides], axis=1).astype(np.float32)


@functools.cache
def special_case(
    side: int, clips: bool, paste: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], list[list[int]]]:
    """Every special box with every kind of mask, and what the oracle says; [N,M,M], [N,4].

    Args:
        side: M.
        clips: to the image, as the op does it: the mask then fills what is left of the box.
        paste: the rule.
    """
    masks = make_masks(6, side)
    boxes = np.clip(SPECIAL, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32) if clips else SPECIAL
    pairs = [(mask, box) for box in boxes for mask in masks]
    counts = [expected_counts(mask, box, (HEIGHT, WIDTH), paste) for mask, box in pairs]
    return np.stack([mask for mask, _ in pairs]), np.stack([box for _, box in pairs]), counts


def check_counts(found: Any, slot: tuple[int, int], counts: list[int]) -> None:
    """One slot's run lengths, and zeros behind them."""
    number = found.num_counts[slot]
    assert number == len(counts)
    assert found.counts[slot][:number].tolist() == counts
    assert not found.counts[slot][number:].any()


@pytest.mark.parametrize("paste", PASTE_RULES)
@pytest.mark.parametrize("side", [1, 2, 14, 28])
@pytest.mark.parametrize(("where", "dtype"), DEVICES_AND_TYPES)
def test_counts_are_those_of_the_definition(where: str, dtype: str, side: int, paste: str) -> None:
    masks, boxes, counts = special_case(side, True, paste)
    given = np.repeat(SPECIAL, len(masks) // len(SPECIAL), axis=0)
    found = run(where, masks[None], given[None], [[len(masks)]], [info_of((HEIGHT, WIDTH))], dtype=dtype, paste=paste)
    for d, wanted in enumerate(counts):
        check_counts(found, (0, d), wanted)
    np.testing.assert_array_equal(found.image_boxes[0], boxes)


@pytest.mark.parametrize("paste", PASTE_RULES)
@pytest.mark.parametrize("side", [1, 2, 14, 28])
@pytest.mark.parametrize("where", HOSTS)
def test_texts_are_those_of_the_definition(where: str, side: int, paste: str) -> None:
    masks, boxes, counts = special_case(side, False, paste)
    with device.host(where):
        texts = encode(masks, boxes, (HEIGHT, WIDTH), paste=paste)
    assert texts == [text_of(wanted, (HEIGHT, WIDTH)) for wanted in counts]


@pytest.mark.parametrize("size", [(480, 640), (333, 500), (1, 300), (300, 1), (1500, 1100), (7, 9)])
@pytest.mark.parametrize("side", [14, 28, MAX_SIDE])
@pytest.mark.parametrize("paste", PASTE_RULES)
@pytest.mark.parametrize("where", HOSTS)
def test_texts_are_those_of_pasting_and_pycocotools(
    where: str, paste: Literal["aligned", "detectron"], side: int, size: tuple[int, int]
) -> None:
    masks, boxes = make_masks(40, side, seed=side), random_boxes(40, size, seed=side)
    with device.host(where):
        texts = encode(masks, boxes, size, paste=paste)
    assert texts == [rle.encode_mask(mask, box, size, paste) for mask, box in zip(masks, boxes, strict=True)]
    assert texts == [entry["counts"] for entry in encode_masks(masks, boxes, size, paste)]


@pytest.mark.parametrize("where", DEVICES)
def test_a_batch_of_images_of_other_sizes_and_scales(where: str) -> None:
    """Canvas boxes go to the original image as the numpy of the server takes them there; D is no multiple of 32."""
    sizes, scales, counts = [(240, 511), (120, 33), (9, 700)], [(1.25, 1.25), (0.7, 0.71), (2.5, 2.0)], [33, 0, 20]
    masks = make_masks(3 * 33, 28, seed=3).reshape(3, 33, 28, 28)
    info = np.array([info_of(size, scale) for size, scale in zip(sizes, scales, strict=True)], np.float32)
    boxes = np.stack([random_boxes(33, (int(row[0]), int(row[1])), seed=i) for i, row in enumerate(info)])
    boxes[2, 20:] = np.nan  # what lies in padding rows must not matter
    found = run(where, masks, boxes, np.array(counts)[:, None], info, 16384)
    for b, (size, count) in enumerate(zip(sizes, counts, strict=True)):
        wanted = geometry.boxes_to_image(boxes[b], info[b])
        np.testing.assert_array_equal(found.image_boxes[b, :count], wanted[:count])
        for d in range(count):
            runs = rle.mask_runs(masks[b, d], wanted[d], size)
            check_counts(found, (b, d), rle.runs_to_counts(*runs, size[0] * size[1]).tolist())
        assert not found.counts[b, count:].any()
        assert not found.num_counts[b, count:].any()
        assert not found.image_boxes[b, count:].any()


@pytest.mark.parametrize("seed", SIMT_SEEDS)
def test_the_order_of_threads_does_not_matter(seed: int) -> None:
    masks, boxes = make_masks(18, 28)[None], random_boxes(18, (64, 700))[None]
    arguments = (masks, boxes, [[18]], [info_of((64, 700))], 4096)
    for found, wanted in zip(run("simt", *arguments, seed=seed), run("host-generic", *arguments), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("where", DEVICES)
def test_what_does_not_fit_says_how_much_it_needs(where: str) -> None:
    masks, boxes = make_masks(9, 28), np.tile(np.float32([[3, 3, 97, 60]]), (9, 1))
    arguments = (masks[None], boxes[None], [[9]], [info_of((64, 128))])
    whole = run(where, *arguments, 4096)
    needed = whole.num_counts[0]
    capacity = int(np.median(needed))  # some need just as much, some more
    assert (needed > capacity).any()
    assert (needed == capacity).any()
    found = run(where, *arguments, capacity)
    np.testing.assert_array_equal(found.num_counts[0], np.where(needed > capacity, -needed, needed))
    for d in range(9):
        kept = whole.counts[0, d, :capacity] if needed[d] <= capacity else np.zeros(capacity)
        np.testing.assert_array_equal(found.counts[0, d], kept)
    np.testing.assert_array_equal(run(where, *arguments, 1).num_counts[0], np.where(needed > 1, -needed, needed))


@pytest.mark.parametrize("where", DEVICES)
def test_boxes_that_are_not_finite(where: str) -> None:
    """NaN has no area; infinity is clipped to the image as any box."""
    boxes = np.concatenate([NOT_FINITE, INFINITE])
    masks = np.full((len(boxes), 28, 28), 1, np.float32)
    found = run(where, masks[None], boxes[None], [[len(boxes)]], [info_of((HEIGHT, WIDTH))])
    empty, full = [HEIGHT * WIDTH], [0, HEIGHT * WIDTH]
    for d, wanted in enumerate([empty] * 5 + [full, full, empty]):
        check_counts(found, (0, d), wanted)


@pytest.mark.parametrize("where", HOSTS)
def test_texts_of_boxes_that_are_not_finite(where: str) -> None:
    boxes = np.concatenate([NOT_FINITE, INFINITE])
    with device.host(where):
        texts = encode(np.full((len(boxes), 28, 28), 1, np.float32), boxes, (HEIGHT, WIDTH))
    assert texts == [text_of([HEIGHT * WIDTH], (HEIGHT, WIDTH))] * len(boxes)


@pytest.mark.parametrize("size", [(0, 9), (9, 0), (-3, 9), (np.nan, 9), (np.inf, 9), (46341, 46341)])
@pytest.mark.parametrize("where", DEVICES)
def test_an_image_of_no_or_too_many_pixels_has_no_counts(where: str, size: tuple[float, float]) -> None:
    info = np.ones((1, 6), np.float32)
    info[0, 4:] = size
    found = run(where, np.full((1, 1, 28, 28), 1, np.float32), [[[0, 0, 5, 5]]], [[1]], info)
    assert not any(array.any() for array in found)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize("size", [(46340, 46340), (20000, 1), (1, 20000)])
def test_positions_reach_the_end_of_huge_images(where: str, size: tuple[int, int]) -> None:
    height, width = size
    # The last pixels, by boxes that float32 holds exactly or that reach beyond the image.
    boxes = np.float32(
        [[max(width - 9, 0), max(height - 3, 0), width + 9, height + 300], [0, 0, min(width, 600), height]]
    )
    info = [info_of((1, 1))]
    info[0][4:] = size
    found = run(where, np.full((1, 2, 28, 28), 1, np.float32), boxes[None], [[2]], info, 4096)
    image_boxes = geometry.boxes_to_image(boxes, np.array(info[0], np.float32))
    for d in range(2):
        runs = rle.mask_runs(np.full((28, 28), 1, np.float32), image_boxes[d], (int(np.float32(height)), width))
        if height < 2**24:  # image_info is float32: it holds larger heights roughly
            check_counts(found, (0, d), rle.runs_to_counts(*runs, height * width).tolist())


@pytest.mark.parametrize(("where", "dtype"), DEVICES_AND_TYPES)
def test_what_is_no_probability_is_clipped(where: str, dtype: str) -> None:
    values = np.array([0.25, 0.75, 300.0, -5.0, np.nan, np.inf, -np.inf, 1e-30, 1.25], np.float32)
    whole = np.array([0.25, 0.75, 1, 0, 0, 1, 0, 0, 1], np.float32)
    chosen = np.random.default_rng(0).integers(0, len(values), (1, 4, 14, 14))
    boxes = np.tile(np.float32([[1.5, 2, 30, 21]]), (1, 4, 1))
    arguments = (boxes, [[4]], [info_of((HEIGHT, WIDTH))])
    for found, wanted in zip(
        run(where, values[chosen], *arguments, dtype=dtype), run("host-generic", whole[chosen], *arguments), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("where", DEVICES)
@pytest.mark.parametrize(("images", "detections"), [(0, 5), (2, 0)])
def test_no_images_and_no_detections(where: str, images: int, detections: int) -> None:
    masks = np.zeros((images, detections, 28, 28), np.float32)
    found = run(where, masks, masks[..., 0, :4], np.zeros((images, 1)), np.ones((images, 6)), 8)
    assert found.counts.shape == (images, detections, 8)
    assert encode(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4)), (4, 5)) == []


@pytest.mark.parametrize("where", HOSTS)
def test_texts_of_what_is_no_probability(where: str) -> None:
    chosen = np.random.default_rng(1).integers(0, 8, (9, 28, 28))
    masks = np.array([0.25, 0.75, 300, -5, np.nan, np.inf, -np.inf, 1.25], np.float32)[chosen]
    boxes = random_boxes(9, (60, 50))
    with device.host(where):
        texts = encode(masks, boxes, (60, 50))
    assert texts == encode(np.clip(np.nan_to_num(masks, nan=0), 0, 1), boxes, (60, 50))
    assert texts == [rle.encode_mask(mask, box, (60, 50)) for mask, box in zip(masks, boxes, strict=True)]
    assert texts == [entry["counts"] for entry in encode_masks(masks, boxes, (60, 50))]


@pytest.mark.parametrize(("where", "dtype"), DEVICES_AND_TYPES)
def test_the_numbers_next_to_one_half_are_told_apart(where: str, dtype: str) -> None:
    """Cells as large as pixels: each pixel is a cell. 0.5 is inside, the next number below is not, in any type."""
    spacing = {"float32": 2.0**-25, "float16": 2.0**-12, "bfloat16": 2.0**-9}[dtype]  # just below 0.5
    chosen = np.random.default_rng(0).integers(0, 2, (1, 3, 14, 14))
    masks = np.array([0.5 - spacing, 0.5], np.float32)[chosen]
    box = np.tile(np.float32([[0, 0, 14, 14]]), (1, 3, 1))
    found = run(where, masks, box, [[3]], [info_of((14, 14))], dtype=dtype)
    for d in range(3):
        check_counts(found, (0, d), reference.encode_rle(chosen[0, d].astype(bool)))


edges = st.floats(-20, 80, width=32)


@pytest.mark.parametrize("paste", PASTE_RULES)
@pytest.mark.parametrize("where", HOSTS)
@settings(max_examples=150, deadline=None)
@given(st.tuples(edges, edges, edges, edges), st.integers(0, 2**31), st.integers(1, 30))
def test_any_box_is_encoded_as_by_numpy(where: str, paste: str, box: tuple[float, ...], seed: int, side: int) -> None:
    masks = make_masks(9, side, seed)
    with device.host(where):
        texts = encode(masks, np.tile(np.float32(box), (9, 1)), (53, 61), paste=paste)
    assert texts == [rle.encode_mask(mask, np.float32(box), (53, 61), paste) for mask in masks]


@pytest.mark.parametrize("where", HOSTS)
def test_crossings_right_on_pixel_centres(where: str) -> None:
    """Boxes at which cells and pixels fall together in every way, masks whose crossings are simple fractions."""
    cell = np.indices((8, 8))
    stripes = [(cell[axis] % period < period // 2) for axis in (0, 1) for period in (2, 4, 8)]
    masks = np.stack(stripes).astype(np.float32)
    for scale in (0.25, 0.5, 1, 1.5, 2, 3, 5, 8):
        for shift in (0, 0.25, 0.5, 3):
            box = np.float32([shift, shift, shift + 8 * scale, shift + 8 * scale])
            with device.host(where):
                texts = encode(masks, np.tile(box, (len(masks), 1)), (70, 70))
            assert texts == [rle.encode_mask(mask, box, (70, 70)) for mask in masks]


def test_threads_and_room_do_not_change_the_texts() -> None:
    masks, boxes = make_masks(300, 28, seed=4), random_boxes(300, (900, 1600), seed=4)
    assert np.clip(boxes[:, 2] - boxes[:, 0], 0, 1600).sum() > 80_000  # enough for three threads
    sizes = np.tile(np.int32([900, 1600]), (300, 1))
    one = encode(masks, boxes, sizes, threads=1)
    assert sum(map(len, one)) > 300 * (256 + 2 * 1600)  # more than the first guess of the room
    assert encode(masks, boxes, sizes, threads=3) == one
    assert [encode(masks[i : i + 1], boxes[i : i + 1], sizes[i])[0] for i in range(300)] == one


def test_memory_does_not_grow_with_the_pixels() -> None:
    """100 masks as large as an image of 50 megapixels: as pasted masks they would take 5 GB."""
    code = """
import resource, numpy as np
from maskline_host.mask_rle import encode
masks = np.random.default_rng(0).random((100, 28, 28), np.float32)
size = (5000, 10000)
encode(masks[:1], np.float32([[0, 0, 9, 9]]), size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
texts = encode(masks, np.tile(np.float32([[0, 0, size[1], size[0]]]), (100, 1)), size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sum(map(len, texts)) // 1024)
"""
    environment = {"MASKLINE_HOST_LIBRARY": str(device.built(device.HOST)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    added_kib, text_kib = map(int, done.stdout.split())
    assert added_kib < 6 * text_kib + 20_000


BAD = [
    ({"masks": np.zeros((1, 28, 28))}, "masks: got float64, expected float32, probabilities 0 to 1"),
    ({"masks": np.zeros((1, 28, 28), np.uint8)}, "masks: got uint8, expected float32"),
    ({"masks": np.zeros((1, 28, 27), np.float32)}, r"masks: got shape \[1, 28, 27\], expected \[any,27,27\]"),
    ({"masks": np.zeros((1, 64, 64), np.float32)}, "masks: got side 64, expected 1..63"),
    ({"paste": "torch"}, "paste: got 'torch', expected one of aligned, detectron"),
    ({"boxes": np.zeros((2, 4))}, r"boxes: got shape \[2, 4\], expected \[1,4\]"),
    ({"sizes": (0, 5)}, "sizes: got 0 x 5 for mask 0, expected 1 to 2147483647 pixels"),
    ({"sizes": (65536, 32768)}, "sizes: got 65536 x 32768 for mask 0"),
    ({"sizes": [(4, 5), (4, 5)]}, r"sizes: got shape \[2, 2\], expected \[1,2\]"),
]


@pytest.mark.parametrize(("change", "text"), BAD)
def test_bad_input_is_said(change: dict[str, Any], text: str) -> None:
    good = {"masks": np.zeros((1, 28, 28), np.float32), "boxes": np.zeros((1, 4)), "sizes": (4, 5)}
    with pytest.raises(HostLibraryError, match=text):
        encode(**{**good, **change})


@pytest.mark.parametrize("max_counts", [0, -1, 2**20 + 1])
def test_a_bad_capacity_is_said_on_host_and_device(max_counts: int) -> None:
    arguments = (np.zeros((1, 1, 28, 28), np.float32), np.zeros((1, 1, 4)), [[1]], [info_of((4, 5))])
    with pytest.raises(HostLibraryError, match=f"max_counts: got {max_counts}, expected 1..1048576"):
        run("host-generic", *arguments, max_counts)
    simt, config = device.simt(), ctypes.byref(config_of(1, 1, 28, max_counts, "float32"))
    with pytest.raises(AssertionError, match=f"MaskRLE: max_counts: got {max_counts}"):
        device.check(simt, simt.maskline_device_mask_rle(config, *[None] * 8))


def test_a_bad_rule_is_said_by_the_device() -> None:
    config, simt = config_of(1, 1, 28, 64, "float32"), device.simt()
    config.paste = 2
    with pytest.raises(AssertionError, match=r"MaskRLE: paste: got 2, expected 0 \(aligned\) or 1 \(detectron\)"):
        device.check(simt, simt.maskline_device_mask_rle(ctypes.byref(config), *[None] * 8))


@pytest.mark.parametrize("side", [0, 64])
def test_a_bad_side_is_said_by_the_device(side: int) -> None:
    with pytest.raises(AssertionError, match=f"MaskRLE: masks: got side {side}, expected 1..63"):
        run("simt", np.zeros((1, 1, side, side), np.float32), np.zeros((1, 1, 4)), [[1]], [info_of((4, 5))])
