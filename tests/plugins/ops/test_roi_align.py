"""MultiscaleRoIAlign on every device, type and layout against the oracle's loops and closed forms."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import sys
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import pytest
import torch
from device import DEVICES, SIMT_SEEDS
from maskline_host import HostLibraryError, library, roi_align
from maskline_host.roi_align import multiscale_roi_align
from roi_align_runner import (
    DTYPES,
    LAYOUTS,
    Op,
    assert_close,
    attributes_of,
    expected,
    pyramid,
    random_boxes,
    rounded,
    run,
)

MODES = ("align_avg", "align_max", "pool", "warp")
HEIGHT, WIDTH = 72, 104  # px of the canvas: the coarser maps have a part of a cell at their edges

# Boxes that a person can think through, of one image of HEIGHT x WIDTH px.
SPECIAL = np.array(
    [
        [4, 8, 32, 36],  # edges on cells
        [4, 8, 32, 36],  # twice the same box
        [32, 8, 60, 36],  # touches the first
        [10, 14, 20, 24],  # inside of the first
        [0, 0, WIDTH, HEIGHT],  # all of the canvas
        [-30, -20, 20, 10],  # partly out of the frame
        [90, 60, 150, 130],
        [200, 300, 260, 380],  # all of it out of the frame
        [-90, 10, -60, 30],
        [-1e7, -1e7, 1e7, 1e7],  # far greater than the canvas
        [20, 20, 20, 40],  # no width
        [20, 40, 40, 40],  # no height
        [40, 20, 20, 40],  # turned around
        [0, 0, 0, 0],  # a padded row
        [10, 10, 10.001, 10.001],  # a thousandth of a pixel
        [3, 30, 101, 33],  # 33 times as wide as high
        [50, 1, 52, 71],
        [0.5, 0.5, 3.5, 3.5],  # smaller than a cell
    ],
    np.float32,
)[None]
NOT_FINITE = np.array(
    [
        [np.nan, 0, 10, 10],
        [0, np.nan, 10, 10],
        [0, 0, np.nan, 10],
        [0, 0, 10, np.nan],
        [0, 0, np.inf, 10],
        [-np.inf, 0, 10, 10],
        [-np.inf, -np.inf, np.inf, np.inf],
    ],
    np.float32,
)[None]


@functools.cache
def case(name: str, dtype: str, channels: int = 3) -> tuple[list[torch.Tensor], npt.NDArray[Any]]:
    """Maps as the type rounds them, and boxes."""
    if name == "special":
        return rounded(pyramid(HEIGHT, WIDTH, channels=channels), dtype), SPECIAL
    maps = pyramid(HEIGHT, WIDTH, images=3, channels=channels, seed=1)
    return rounded(maps, dtype), random_boxes(HEIGHT, WIDTH, 3, 7, seed=2)


@functools.cache
def oracle(op: Op, name: str, dtype: str) -> npt.NDArray[np.float64]:
    return expected(op, *case(name, dtype))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["special", "random"])
@pytest.mark.parametrize("where", DEVICES)
def test_answers_are_those_of_the_definition(where: str, name: str, mode: str, dtype: str, layout: str) -> None:
    op = Op(mode=mode, pooled_side=3 if where == "simt" else 7)
    found = run(where, op, *case(name, dtype), dtype=dtype, layout=layout)
    assert_close(found, oracle(op, name, dtype), dtype)


@pytest.mark.parametrize("pooled_side", [1, 2, 5, 14, 17])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 3])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("where", DEVICES)
def test_attributes_follow_the_definition(where: str, aligned: bool, sampling_ratio: int, pooled_side: int) -> None:
    if where == "simt" and pooled_side > 5:
        pooled_side = 4
    for mode in MODES[:2] if sampling_ratio else MODES:
        op = Op(mode=mode, aligned=aligned, sampling_ratio=sampling_ratio, pooled_side=pooled_side)
        maps, boxes = pyramid(24, 40, channels=1), random_boxes(24, 40, 1, 5, seed=4)
        maps = [level.float().double() for level in maps]
        for layout in LAYOUTS:
            assert_close(run(where, op, maps, boxes, layout=layout), expected(op, maps, boxes), "float32")


@pytest.mark.parametrize("channels", [1, 8, 11, 16, 40])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", DEVICES)
def test_any_number_of_channels(where: str, layout: str, channels: int) -> None:
    op = Op(pooled_side=2)
    maps, boxes = case("random", "float16", channels)
    found = run(where, op, maps, boxes[:, :2], dtype="float16", layout=layout)
    picked = [0, channels // 2, channels - 1]
    wanted = expected(op, [level[:, picked] for level in maps], boxes[:, :2])
    assert_close(found[:, picked], wanted, "float16")


@pytest.mark.parametrize("count", [0, 1, 33])
@pytest.mark.parametrize("where", DEVICES)
def test_any_number_of_boxes(where: str, count: int) -> None:
    op = Op(pooled_side=2, sampling_ratio=1)
    maps = [level.float().double() for level in pyramid(40, 40, images=2, channels=1)]
    boxes = random_boxes(40, 40, 2, count, seed=3)
    assert_close(run(where, op, maps, boxes), expected(op, maps, boxes), "float32")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("where", DEVICES)
def test_boxes_that_are_not_finite_give_zeros(where: str, sampling_ratio: int, mode: str) -> None:
    maps = [level + 10.0 for level in pyramid(HEIGHT, WIDTH)]  # zero is no value of these maps
    found = run(where, Op(mode=mode, sampling_ratio=sampling_ratio, pooled_side=2), maps, NOT_FINITE)
    np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("where", DEVICES)
def test_huge_finite_boxes_end_and_give_numbers(where: str, sampling_ratio: int, mode: str) -> None:
    big = np.float32(3.4e38)
    edges = np.array([[-big, -big, big, big], [0, 0, big, big], [-1e9, 3, 1e9, 4], [1e30, 0, 2e30, 9]], np.float32)
    found = run(where, Op(mode=mode, sampling_ratio=sampling_ratio, pooled_side=3), pyramid(24, 40), edges[None])
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10  # of values of standard deviation 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_one_bad_cell_spoils_only_the_bins_that_read_it(where: str, mode: str, layout: str) -> None:
    op = Op(mode=mode, pooled_side=4, strides=(4,))
    maps = pyramid(48, 48, strides=(4,))
    boxes = np.array([[[10, 10, 40, 40], [-30, -30, 12, 12]]], np.float32)  # only the last bins of the second read it
    clean = run(where, op, maps, boxes, layout=layout)
    maps[0][0, 1, 0, 0] = float("nan")
    spoiled = run(where, op, maps, boxes, layout=layout)
    others = np.ones(clean.shape, bool)
    others[1, 1, 2:, 2:] = False
    np.testing.assert_array_equal(spoiled[others], clean[others])
    assert (spoiled[1, 1] != clean[1, 1]).any()


@pytest.mark.parametrize("seed", SIMT_SEEDS)
def test_the_order_of_threads_does_not_matter(seed: int) -> None:
    maps, boxes = case("random", "float32")
    for mode in MODES:
        op = Op(mode=mode, pooled_side=3, sampling_ratio=0)
        np.testing.assert_array_equal(
            run("simt", op, maps, boxes[:, :3], seed=seed), run("simt", op, maps, boxes[:, :3], seed=seed + 100)
        )


@pytest.mark.parametrize("where", ["host-generic", "host-avx512"])
def test_the_number_of_threads_does_not_matter(where: str) -> None:
    maps, boxes = case("random", "float32", 40)
    one, three = (run(where, Op(), maps, boxes, threads=threads) for threads in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_vector_and_generic_code_agree_on_a_real_pyramid() -> None:
    maps = pyramid(400, 640, channels=33, images=2)
    boxes = random_boxes(400, 640, 2, 180, seed=5)  # an output that is written past the caches, and one that is not
    for op in (Op(canonical_size=112.0), Op(canonical_size=112.0, pooled_side=14, sampling_ratio=0)):
        for dtype in DTYPES:
            generic, vector = (run(where, op, maps, boxes, dtype=dtype) for where in ("host-generic", "host-avx512"))
            assert_close(vector, generic, dtype)


# ---- closed forms ----------------------------------------------------------------------------------------------------


def inside_boxes(count: int = 6) -> npt.NDArray[Any]:
    """Boxes at least two cells of stride 4 from every edge of a canvas of 96 x 96 px."""
    rng = np.random.default_rng(7)
    low = rng.uniform(8, 40, (1, count, 2))
    return np.concatenate([low, low + rng.uniform(4, 40, (1, count, 2))], axis=-1).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_a_constant_stays_the_constant(where: str, mode: str) -> None:
    maps = [torch.full((1, 2, 24, 24), 3.25, dtype=torch.float64)]
    found = run(where, Op(mode=mode, strides=(4,), pooled_side=4), maps, inside_boxes())
    np.testing.assert_allclose(found, 3.25, rtol=1e-6)


@pytest.mark.parametrize("where", DEVICES)
def test_a_ramp_gives_the_centres_of_the_bins(where: str) -> None:
    centres = torch.arange(24, dtype=torch.float64) * 4 + 2  # px of the centres of the cells
    ramp = torch.stack([centres[None, :].expand(24, 24), centres[:, None].expand(24, 24)])[None]
    boxes = inside_boxes()
    found = run(where, Op(strides=(4,), pooled_side=4), [ramp], boxes)
    fractions = (np.arange(4) + 0.5) / 4
    for values, (x0, y0, x1, y1) in zip(found, boxes[0].astype(np.float64), strict=True):
        np.testing.assert_allclose(values[0], np.broadcast_to(x0 + (x1 - x0) * fractions, (4, 4)), rtol=1e-5)
        np.testing.assert_allclose(values[1].T, np.broadcast_to(y0 + (y1 - y0) * fractions, (4, 4)), rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_shifts_with_the_map(where: str, mode: str) -> None:
    maps = pyramid(96, 96, strides=(4,))
    shifted = [torch.roll(maps[0], (1, 2), dims=(2, 3))]
    boxes = np.round(inside_boxes() * 16) / 16  # so that the sum is exact
    op = Op(mode=mode, strides=(4,), pooled_side=4)
    found = run(where, op, shifted, boxes + np.float32([8, 4, 8, 4]))
    np.testing.assert_allclose(found, run(where, op, maps, boxes), atol=2e-6)


@pytest.mark.parametrize("mode", ["align_avg", "warp"])
@pytest.mark.parametrize("where", DEVICES)
def test_averages_are_linear(where: str, mode: str) -> None:
    one, two = (pyramid(96, 96, strides=(4,), seed=seed) for seed in (1, 2))
    op = Op(mode=mode, strides=(4,), pooled_side=4)
    found, first, second = (run(where, op, maps, inside_boxes()) for maps in ([2 * one[0] - 3 * two[0]], one, two))
    np.testing.assert_allclose(found, 2 * first - 3 * second, atol=1e-5)


GUARDED = """
import ctypes, mmap
import numpy as np
from maskline_host.roi_align import multiscale_roi_align
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
for side in (9, 24, 50):  # one window, two windows, strips
    for dtype in (np.float32, np.float16):
        size = side * side * 2 * np.dtype(dtype).itemsize
        pages = -(-size // page) + 1
        memory = mmap.mmap(-1, pages * page)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        assert libc.mprotect(ctypes.c_void_p(address + (pages - 1) * page), page, 0) == 0
        offset = (pages - 1) * page - size
        level = np.frombuffer(memory, dtype, side * side * 2, offset).reshape(1, 2, side, side)
        boxes = np.array([[[0, 0, 4 * side, 4 * side], [4 * side - 9, 4 * side - 9, 4 * side, 4 * side]]], np.float32)
        for mode in ("align_avg", "align_max", "pool", "warp"):
            for ratio in (0, 2):
                multiscale_roi_align([level], boxes, strides=(4,), pooled_side=7, sampling_ratio=ratio, mode=mode)
"""


def test_no_byte_behind_a_map_is_read() -> None:
    """The last map ends where a page begins that may not be read."""
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"exit {done.returncode} {done.stderr}"


# ---- the Python function ---------------------------------------------------------------------------------------------


def test_python_function_takes_numpy_and_writes_where_it_is_told() -> None:
    maps, boxes = case("random", "float32")
    features = [level.numpy().astype(np.float32) for level in maps]
    out = np.empty((21, 3, 7, 7), np.float32)
    found = multiscale_roi_align(
        features, boxes, strides=(4, 8, 16, 32), canonical_size=40.0, pooled_side=7, threads=1, out=out
    )
    assert found is out
    assert_close(found, oracle(Op(), "random", "float32"), "float32")
    half = multiscale_roi_align(
        [level.astype(np.float16) for level in features],
        boxes,
        strides=(4, 8, 16, 32),
        canonical_size=40.0,
        pooled_side=7,
    )
    assert half.dtype == np.float16


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"strides": (4, 8, 12, 32)}, r"strides\[2\]: got 12, expected a power of two, twice the stride before it"),
        ({"strides": (4, 8, 16)}, "features: got 4 levels, expected 3"),
        ({"strides": ()}, "strides: got 0, expected 1 to 8"),
        ({"strides": (1,) * 9}, "strides: got 9, expected 1 to 8"),
        ({"pooled_side": -1}, "pooled_side: got -1, expected 1..64"),
        ({"pooled_side": 65}, "pooled_side: got 65, expected 1..64"),
        ({"sampling_ratio": -1}, "sampling_ratio: got -1, expected 0..16"),
        ({"canonical_size": 0.0}, "canonical_size: got 0.000000, expected a number of pixels above 0"),
        ({"canonical_level": 31}, "canonical_level: got 31, expected 0..30"),
        ({"mode": "max"}, "mode: got 'max', expected one of align_avg, align_max, pool, warp"),
        ({"boxes": np.zeros((1, 4), np.float32)}, r"boxes: got shape \[1,4\]|boxes: got shape \[1, 4\]"),
        ({"out": np.empty((1, 3, 7, 7), np.float32)}, "out: got float32"),
    ],
)
def test_errors_say_what_is_wrong(changes: dict[str, Any], text: str) -> None:
    maps, boxes = case("random", "float32")
    given: dict[str, Any] = {"strides": (4, 8, 16, 32), "pooled_side": 7, "boxes": boxes, **changes}
    with pytest.raises(HostLibraryError, match=text):
        multiscale_roi_align([level.numpy().astype(np.float32) for level in maps], **given)


@pytest.mark.parametrize("where", ["host-generic", "simt"])
def test_packed_maps_beyond_32_bits_are_refused(where: str) -> None:
    """Positions in them are counted by eight elements in 32 bits; nothing of such a map has to be there."""
    side = ctypes.c_int32 * roi_align.MAX_LEVELS
    shape = roi_align.Shape(1, LAYOUTS.index("hwc8"), 1, 1, 32, side(1 << 15), side(1 << 15))
    config = roi_align.Config(attributes=attributes_of(Op(strides=(4,))), shape=shape)
    levels = (ctypes.c_void_p * 1)(None)
    found = library.load() if where == "host-generic" else device.simt()
    face = "host" if where == "host-generic" else "device"
    call = getattr(found, f"maskline_{face}_multiscale_roi_align")
    assert call(ctypes.byref(config), levels, None, None, None) != 0
    text = found.maskline_last_error().decode()
    assert text.endswith("feature 0: got 34359738368 elements an image, expected less than 2^34")
