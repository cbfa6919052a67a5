"""The gradient of MultiscaleRoIAlign, each type, layout and variant: float64 loops, autograd, torchvision."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import pytest
import roi_align_backward_runner as backward
import torch
import torchvision
from device import SIMT_SEEDS
from maskline_host import library, roi_align
from maskline_train.model.roi.multiscale import multiscale_roi_align
from maskline_train.spec import RoIAlignSpec
from roi_align_backward_runner import DEVICES, Expected, assert_close, incoming, run, sizes_of
from roi_align_runner import DTYPES, LAYOUTS, STRIDES, Op, pyramid, random_boxes, rounded
from roi_align_runner import run as forward

HEIGHT, WIDTH = 72, 104  # px of the canvas: the coarser maps have a part of a cell at their edges
MODES = ("align_avg", "warp")
VARIANTS = pytest.mark.parametrize("deterministic", [False, True], ids=["by_box", "by_cell"])

# Boxes that a person can think through, of one image of HEIGHT x WIDTH px.
SPECIAL = np.array(
    [
        [4, 8, 32, 36],  # edges on cells
        [4, 8, 32, 36],  # twice the same box
        [10, 14, 20, 24],  # inside of the first
        [0, 0, WIDTH, HEIGHT],  # all of the canvas
        [-30, -20, 20, 10],  # partly out of the frame
        [90, 60, 150, 130],
        [200, 300, 260, 380],  # all of it out of the frame
        [-90, 10, -60, 30],
        [20, 20, 20, 40],  # no width
        [40, 20, 20, 40],  # turned around
        [0, 0, 0, 0],  # a padded row
        [10, 10, 10.001, 10.001],  # a thousandth of a pixel
        [3, 30, 101, 33],  # 33 times as wide as high
        [0.5, 0.5, 3.5, 3.5],  # smaller than a cell
    ],
    np.float32,
)[None]


@functools.cache
def boxes_of(name: str) -> npt.NDArray[Any]:
    return SPECIAL if name == "special" else random_boxes(HEIGHT, WIDTH, 2, 7, seed=2)


@functools.cache
def oracle(op: Op, name: str, dtype: str, channels: int = 3) -> tuple[torch.Tensor, Expected]:
    """The incoming gradient, and the oracle's answer."""
    boxes = boxes_of(name)
    pooled = incoming(boxes.shape[0] * boxes.shape[1], channels, op.pooled_side, dtype)
    return pooled, backward.expected(op, sizes_of(HEIGHT, WIDTH, op.strides), boxes, pooled)


@VARIANTS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["special", "random"])
@pytest.mark.parametrize("where", DEVICES)
def test_answers_are_those_of_the_definition(
    where: str, name: str, mode: str, dtype: str, layout: str, deterministic: bool
) -> None:
    op = Op(mode=mode, pooled_side=3)
    pooled, wanted = oracle(op, name, dtype)
    sizes = sizes_of(HEIGHT, WIDTH, STRIDES)
    assert_close(
        run(where, op, sizes, boxes_of(name), pooled, dtype=dtype, layout=layout, deterministic=deterministic), wanted
    )


@VARIANTS
@pytest.mark.parametrize("pooled_side", [1, 5])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 3])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("where", DEVICES)
def test_attributes_follow_the_definition(
    where: str, aligned: bool, sampling_ratio: int, pooled_side: int, deterministic: bool
) -> None:
    for mode in MODES:
        op = Op(mode=mode, aligned=aligned, sampling_ratio=sampling_ratio, pooled_side=pooled_side)
        sizes, boxes, pooled = (
            sizes_of(24, 40, STRIDES),
            random_boxes(24, 40, 1, 5, seed=4),
            incoming(5, 1, pooled_side),
        )
        found = run(where, op, sizes, boxes, pooled, deterministic=deterministic)
        assert_close(found, backward.expected(op, sizes, boxes, pooled))


@VARIANTS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(12, 280), (280, 12)], ids=["wide", "high"])
@pytest.mark.parametrize("where", DEVICES)
def test_large_boxes_of_one_level_are_cut_into_windows(
    where: str, size: tuple[int, int], layout: str, deterministic: bool
) -> None:
    """Up to 35 points a bin, which the forward walks without a list, on maps of more cells than a window."""
    op = Op(pooled_side=2, sampling_ratio=0, strides=(4,))
    sizes, (height, width) = sizes_of(*size, op.strides), size
    boxes = np.array([[[1, 2, width - 1, height - 1], [0.4 * width, 0.3 * height, width, 0.9 * height]]], np.float32)
    pooled = incoming(2, 2, 2)
    wanted = backward.expected(op, sizes, boxes, pooled)
    assert_close(run(where, op, sizes, boxes, pooled, layout=layout, deterministic=deterministic), wanted)


@VARIANTS
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("where", DEVICES)
def test_huge_boxes_end_and_read_what_the_forward_reads(where: str, sampling_ratio: int, deterministic: bool) -> None:
    """Too wide for the oracle's loops, so by the forward on the same device: <G, F(x)> is <F'(G), x>.

    Both sum the same terms in another order, of which the weights of 2000 points are the longest sum: 2^-24 each.
    """
    op, sizes = Op(pooled_side=3, sampling_ratio=sampling_ratio), sizes_of(24, 40, STRIDES)
    big = 3.4e38
    edges = [[-big, -big, big, big], [0, 0, big, big], [-1e9, 3, 1e9, 4], [-2e3, -3e3, 5e3, 4e3], [-90, -70, 130, 99]]
    boxes = np.array([edges], np.float32)
    maps = rounded(pyramid(24, 40, channels=1), "float32")
    pooled = incoming(len(edges), 1, 3)
    read = forward(where, op, maps, boxes) * pooled.numpy()
    found = run(where, op, sizes, boxes, pooled, deterministic=deterministic)
    given = [level.astype(np.float64) * values.numpy() for level, values in zip(found, maps, strict=True)]
    terms = sum(np.abs(level).sum() for level in given) + np.abs(read).sum()
    assert np.abs(read).sum() > 0.1, "no box reads anything"
    assert abs(sum(level.sum() for level in given) - read.sum()) <= 2000 * 2.0**-24 * terms


@VARIANTS
@pytest.mark.parametrize("where", DEVICES)
def test_boxes_that_are_not_finite_give_nothing(where: str, deterministic: bool) -> None:
    nan, inf = float("nan"), float("inf")
    boxes = np.array([[[nan, 0, 9, 9], [0, 0, 9, nan], [0, 0, inf, 9], [-inf, -inf, inf, inf]]], np.float32)
    pooled = incoming(4, 1, 3) * nan
    for level in run(where, Op(pooled_side=3), sizes_of(24, 40, STRIDES), boxes, pooled, deterministic=deterministic):
        np.testing.assert_array_equal(level, 0.0)


@VARIANTS
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", DEVICES)
def test_a_gradient_that_is_not_finite_reaches_the_cells_that_its_bin_reads(
    where: str, layout: str, deterministic: bool
) -> None:
    op = Op(pooled_side=3, strides=(4,))
    sizes, boxes = sizes_of(40, 40, op.strides), np.array([[[3, 3, 37, 37]]], np.float32)
    pooled = torch.zeros(1, 3, 3, 3, dtype=torch.float64)
    pooled[0, 1, 1, 2] = 1.0
    read = [level > 0 for level in backward.expected(op, sizes, boxes, pooled).maps]
    pooled[0, 1, 1, 2] = float("inf")
    found = run(where, op, sizes, boxes, pooled, layout=layout, deterministic=deterministic)
    np.testing.assert_array_equal(~np.isfinite(found[0]), read[0])
    np.testing.assert_array_equal(found[0][~read[0]], 0.0)


@VARIANTS
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_is_the_gradient_of_the_path_that_training_takes(
    where: str, mode: str, sampling_ratio: int, deterministic: bool
) -> None:
    """Autograd in float64 through torch's path, all levels and both images."""
    op = Op(mode=mode, pooled_side=3, sampling_ratio=sampling_ratio)
    boxes, (pooled, wanted) = boxes_of("random"), oracle(op, "random", "float32")
    sizes = sizes_of(HEIGHT, WIDTH, STRIDES)
    features = [torch.zeros(2, 3, *size, dtype=torch.float64, requires_grad=True) for size in sizes]
    spec = RoIAlignSpec(sampling_ratio, op.aligned, op.canonical_size, op.canonical_level, mode)
    multiscale_roi_align(features, torch.from_numpy(boxes), spec, op.pooled_side).backward(pooled)
    gradients = [np.asarray(feature.grad) for feature in features]
    found = run(where, op, sizes, boxes, pooled, deterministic=deterministic)
    assert_close(found, Expected(gradients, wanted.tolerance))


@VARIANTS
@pytest.mark.parametrize(("sampling_ratio", "aligned"), [(2, True), (2, False), (0, True), (0, False)])
@pytest.mark.parametrize("where", DEVICES)
def test_agrees_with_torchvisions_autograd(where: str, sampling_ratio: int, aligned: bool, deterministic: bool) -> None:
    """In float32 on both sides, so each may be off by the tolerance."""
    op = Op(pooled_side=3, sampling_ratio=sampling_ratio, aligned=aligned, strides=(8,))
    sizes, boxes = sizes_of(HEIGHT, WIDTH, op.strides), boxes_of("random")
    pooled = incoming(14, 3, 3)
    feature = torch.zeros(2, 3, *sizes[0], requires_grad=True)
    rows = list(torch.from_numpy(boxes))
    torchvision.ops.roi_align(feature, rows, 3, 1 / 8, sampling_ratio or -1, aligned).backward(pooled.float())
    tolerance = 2 * backward.expected(op, sizes, boxes, pooled).tolerance
    found = run(where, op, sizes, boxes, pooled, deterministic=deterministic)
    assert_close(found, Expected([np.asarray(feature.grad)], tolerance))


@VARIANTS
@pytest.mark.parametrize("channels", [1, 4, 11, 40])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", DEVICES)
def test_any_number_of_channels(where: str, layout: str, channels: int, deterministic: bool) -> None:
    op = Op(pooled_side=2)
    pooled, wanted = oracle(op, "random", "float16", channels)
    sizes = sizes_of(HEIGHT, WIDTH, STRIDES)
    found = run(
        where, op, sizes, boxes_of("random"), pooled, dtype="float16", layout=layout, deterministic=deterministic
    )
    assert_close(found, wanted)


@VARIANTS
@pytest.mark.parametrize("count", [0, 1, 300])
@pytest.mark.parametrize("where", DEVICES)
def test_any_number_of_boxes(where: str, count: int, deterministic: bool) -> None:
    """More than the 256 that a block of the deterministic variant looks at together; what is there is added to."""
    op = Op(pooled_side=1, sampling_ratio=1, strides=(16,))
    sizes, boxes = sizes_of(40, 40, op.strides), random_boxes(40, 40, 2, count, seed=3)
    pooled = incoming(2 * count, 1, 1)
    found = run(where, op, sizes, boxes, pooled, deterministic=deterministic, before=0.5)
    if count == 0:
        np.testing.assert_array_equal(found[0], np.float32(0.5))
    else:
        wanted = backward.expected(op, sizes, boxes, pooled)
        assert_close([level - 0.5 for level in found], wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_deterministic_variant_gives_the_same_bytes_in_every_order(layout: str) -> None:
    op = Op(pooled_side=2, strides=(8,))
    sizes, boxes = sizes_of(HEIGHT, WIDTH, op.strides), random_boxes(HEIGHT, WIDTH, 1, 20, seed=5)
    pooled = incoming(20, 2, 2)
    by_box, by_cell = (
        [run("simt", op, sizes, boxes, pooled, layout=layout, deterministic=how, seed=seed)[0] for seed in SIMT_SEEDS]
        for how in (False, True)
    )
    assert len({level.tobytes() for level in by_cell}) == 1
    assert len({level.tobytes() for level in by_box}) > 1, "the seeds make no other order of sums"
    wanted = backward.expected(op, sizes, boxes, pooled)
    for level in by_box:
        assert_close([level], wanted)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": "align_max"}, "features: got none, expected those of each level: they say where the maximum was"),
        ({"mode": "pool", "deterministic": 1}, "deterministic: got 1, expected 0 for mode pool"),
        ({"pooled_side": 65}, "pooled_side: got 65, expected 1..64"),
        ({"deterministic": 2}, "deterministic: got 2, expected 0..1"),
    ],
)
def test_errors_say_what_is_refused(changes: dict[str, Any], text: str) -> None:
    deterministic = changes.pop("deterministic", 0)
    op = Op(strides=(4,), **changes)
    with pytest.raises(AssertionError, match=f"^MultiscaleRoIAlignBackward: {text}"):
        run("simt", op, [(5, 5)], SPECIAL[:, :0], torch.zeros(0, 1, 1, 1), deterministic=deterministic)


def test_a_struct_of_another_build_is_refused() -> None:
    config = roi_align.BackwardConfig()
    config.bytes += 1
    simt = device.simt()
    assert simt.maskline_device_multiscale_roi_align_backward(ctypes.byref(config), *6 * [None]) == 1
    text = simt.maskline_last_error().decode()
    assert text.startswith(f"MultiscaleRoIAlignBackward: config: got interface {library.INTERFACE} and {config.bytes} ")
