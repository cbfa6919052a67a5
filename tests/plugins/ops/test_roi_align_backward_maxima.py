"""The gradient of MultiscaleRoIAlign's maxima: that of the greatest point or cell, by autograd and torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from device import SIMT_SEEDS
from maskline_train.model.roi.multiscale import multiscale_roi_align
from maskline_train.spec import RoIAlignSpec
from roi_align_backward_runner import DEVICES, Expected, assert_close, incoming, run, sizes_of
from roi_align_runner import DTYPES, LAYOUTS, STRIDES, Op, pyramid, random_boxes, rounded

HEIGHT, WIDTH = 72, 104  # px of the canvas: the coarser maps have a part of a cell at their edges
MODES = ("align_max", "pool")


def autograd(op: Op, maps: list[torch.Tensor], boxes: npt.NDArray[Any], pooled: torch.Tensor) -> Expected:
    """In float64 through the path that training takes.

    The tolerance: all bins of an image may meet in a cell, each with a rounding of 2^-24 and 8 of its weight, relative
    to its size, and with a weight whose two positions are off by 4 roundings of the canvas and one of a box's edge.
    """
    features = [level.clone().requires_grad_() for level in maps]
    spec = RoIAlignSpec(op.sampling_ratio, op.aligned, op.canonical_size, op.canonical_level, op.mode)
    multiscale_roi_align(features, torch.from_numpy(boxes), spec, op.pooled_side).backward(pooled)
    bins = boxes.shape[1] * op.pooled_side**2
    most = float(pooled.abs().reshape(boxes.shape[0], boxes.shape[1], pooled.shape[1], -1).sum(dim=(1, 3)).max())
    cells = max(maps[0].shape[2:])
    position = 4.0 * cells + float(np.abs(boxes).max()) / op.strides[0] + 1.0
    gradients = [torch.zeros_like(level) if level.grad is None else level.grad for level in features]  # without boxes
    return Expected([level.numpy() for level in gradients], 2.0**-24 * (bins + 8 + 2 * position) * most)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_is_the_gradient_of_the_path_that_training_takes(
    where: str, mode: str, sampling_ratio: int, dtype: str, layout: str
) -> None:
    op = Op(mode=mode, pooled_side=3, sampling_ratio=sampling_ratio)
    maps = rounded(pyramid(HEIGHT, WIDTH, images=2, seed=1), dtype)
    boxes, pooled = random_boxes(HEIGHT, WIDTH, 2, 7, seed=2), incoming(14, 3, 3, dtype)
    sizes = sizes_of(HEIGHT, WIDTH, STRIDES)
    wanted = autograd(op, maps, boxes, pooled)
    for seed in SIMT_SEEDS if where == "simt" else (0,):
        found = run(where, op, sizes, boxes, pooled, dtype=dtype, layout=layout, features=maps, seed=seed)
        assert_close(found, wanted)


@pytest.mark.parametrize("channels", [1, 11])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", DEVICES)
def test_pool_agrees_with_torchvisions_autograd(where: str, layout: str, channels: int) -> None:
    """Sums of the same float32 numbers in another order: of 63 bins, each rounded twice, and both sides."""
    op = Op(mode="pool", pooled_side=3, strides=(8,))
    (level,) = rounded(pyramid(HEIGHT, WIDTH, images=2, channels=channels, strides=(8,)), "float32")
    boxes, pooled = random_boxes(HEIGHT, WIDTH, 2, 7, seed=2), incoming(14, channels, 3)
    feature = level.float().requires_grad_()
    torchvision.ops.roi_pool(feature, list(torch.from_numpy(boxes)), 3, 1 / 8).backward(pooled.float())
    most = float(pooled.abs().reshape(2, 7, channels, -1).sum(dim=(1, 3)).max())
    sizes = sizes_of(HEIGHT, WIDTH, op.strides)
    found = run(where, op, sizes, boxes, pooled, layout=layout, features=[level])
    assert_close(found, Expected([np.asarray(feature.grad)], 2 * 2.0**-24 * 63 * most))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_the_first_of_equals_gets_the_gradient(where: str, mode: str) -> None:
    op = Op(mode=mode, pooled_side=2, strides=(4,))
    maps = [torch.zeros(1, 1, 12, 12, dtype=torch.float64)]
    boxes = np.array([[[9, 9, 37, 40], [13, 20, 30, 31]]], np.float32)
    pooled = incoming(2, 1, 2)
    assert_close(run(where, op, [(12, 12)], boxes, pooled, features=maps), autograd(op, maps, boxes, pooled))


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", DEVICES)
def test_a_point_outside_of_the_map_takes_the_gradient_with_it(where: str, mode: str, sampling_ratio: int) -> None:
    """It reads 0, which is more than what the map holds; a box without area, or not finite, gives nothing either."""
    op = Op(mode=mode, pooled_side=1, sampling_ratio=sampling_ratio, strides=(4,))
    maps = [torch.full((1, 1, 6, 6), -1.0, dtype=torch.float64)]
    outside = [[-40, -40, 20, 20], [-90, 3, -60, 9]] if mode == "align_max" else [[-90, 3, -60, 9]]
    boxes = np.array([[*outside, [5, 5, 5, 9], [0, 0, np.inf, 9], [np.nan, 0, 9, 9]]], np.float32)
    (found,) = run(where, op, [(6, 6)], boxes, incoming(boxes.shape[1], 1, 1), features=maps)
    np.testing.assert_array_equal(found, 0.0)
