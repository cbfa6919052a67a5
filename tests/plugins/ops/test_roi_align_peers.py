"""MultiscaleRoIAlign against torchvision, ONNX Runtime on the exported bodies, and half-precision coordinates."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torchvision
from device import DEVICES
from maskline_export.custom_ops import multiscale_roi_align as exported
from roi_align_runner import LAYOUTS, Op, assert_close, expected, pyramid, random_boxes, rounded, run
from support.export import onnx_ops


def rows(boxes: npt.NDArray[Any]) -> torch.Tensor:
    """[B*R, 5] as torchvision's ops take them."""
    images = np.repeat(np.arange(boxes.shape[0], dtype=np.float32), boxes.shape[1])
    return torch.from_numpy(np.concatenate([images[:, None], boxes.reshape(-1, 4)], axis=1))


PEERS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "align_avg": lambda level, boxes: torchvision.ops.roi_align(level, boxes, 7, 0.25, 2, True),
    "legacy": lambda level, boxes: torchvision.ops.roi_align(level, boxes, 7, 0.25, 2, False),
    "adaptive": lambda level, boxes: torchvision.ops.roi_align(level, boxes, 7, 0.25, -1, True),
    "pool": lambda level, boxes: torchvision.ops.roi_pool(level, boxes, 7, 0.25),
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("where", DEVICES)
def test_agrees_with_torchvision_on_one_level(where: str, peer: str) -> None:
    count = 3 if where == "simt" else 40
    maps = pyramid(200, 264, images=2, channels=5, strides=(4,))
    boxes = random_boxes(200, 264, 2, count, seed=6)
    op = Op(
        strides=(4,),
        mode="pool" if peer == "pool" else "align_avg",
        aligned=peer != "legacy",
        sampling_ratio=0 if peer == "adaptive" else 2,
    )
    wanted = PEERS[peer](maps[0].float(), rows(boxes)).numpy()
    found = run(where, op, maps, boxes)
    if peer == "pool":
        np.testing.assert_array_equal(found, wanted)  # RoIPool copies values
    else:
        assert_close(found, wanted, "torchvision")


@pytest.mark.parametrize("side", [7, 14, 31])
def test_pool_rounds_the_edges_of_bins_as_torchvision_does(side: int) -> None:
    level = pyramid(600, 600, channels=1, strides=(4,))[0]
    lengths = np.arange(1, 140, dtype=np.float32)  # 57, 114 and 121 cells in 31 bins are where float32 shows
    boxes = np.stack([lengths * 0, lengths * 0, (lengths - 1) * 4, (lengths - 1) * 4 + 0.01], axis=-1)[None]
    boxes[:, 0, 2] = 0.01  # with an area
    found = run("host-generic", Op(mode="pool", strides=(4,), pooled_side=side), [level], boxes)
    wanted = torchvision.ops.roi_pool(level.float(), rows(boxes), side, 0.25).numpy()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("where", DEVICES)
def test_agrees_with_torchvisions_pyramid_pooler(where: str) -> None:
    count = 3 if where == "simt" else 60
    maps = [level.float() for level in pyramid(256, 320, images=2, channels=5)]
    boxes = random_boxes(256, 320, 2, count, seed=8, outside=0.0)
    names = [str(index) for index in range(4)]
    pooler = torchvision.ops.MultiScaleRoIAlign(names, 7, 2, canonical_scale=112, canonical_level=4)
    legacy = pooler(dict(zip(names, maps, strict=True)), list(torch.from_numpy(boxes)), [(256, 320)] * 2)
    found = run(where, Op(canonical_size=112.0, aligned=False), maps, boxes)
    assert_close(found, legacy.numpy(), "torchvision")


@pytest.mark.parametrize("body", [exported.body_ort, exported.body_dense])
@pytest.mark.parametrize("where", DEVICES)
def test_agrees_with_onnx_runtime_on_the_exported_bodies(where: str, body: Callable[..., Any]) -> None:
    count = 3 if where == "simt" else 30
    maps = [level.float() for level in pyramid(128, 192, images=2, channels=5)]
    boxes = np.concatenate([random_boxes(128, 192, 2, count, seed=9), np.zeros((2, 1, 4), np.float32)], axis=1)
    attributes = exported.MultiscaleRoIAlign((4, 8, 16, 32), 112.0, 4, 7, 2, True)
    (wanted,) = onnx_ops.run_op(body(attributes), attributes, [boxes, *(level.numpy() for level in maps)])
    assert_close(run(where, Op(canonical_size=112.0), maps, boxes), wanted, "onnxruntime")


# ---- half precision far from the origin ------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("where", DEVICES)
def test_half_features_are_sampled_exactly_beyond_a_thousand_pixels(where: str, layout: str) -> None:
    """Coordinates in half precision move by up to half a pixel beyond x = 1024; ours do not."""
    op = Op(strides=(4,), pooled_side=7)
    maps = rounded(pyramid(40, 1600, channels=2, strides=(4,)), "float16")  # 10 x 400 cells
    rng = np.random.default_rng(10)
    low = np.stack([rng.uniform(1000, 1500, 12), rng.uniform(0, 10, 12)], axis=-1)
    sides = np.stack([rng.uniform(20, 90, 12), rng.uniform(10, 28, 12)], axis=-1)
    boxes = np.concatenate([low, low + sides], axis=-1).astype(np.float32)[None]
    wanted = expected(op, maps, boxes)
    ours = np.abs(run(where, op, maps, boxes, dtype="float16", layout=layout) - wanted).max()
    coordinates = np.abs(half_coordinates(maps[0][0].numpy(), boxes[0]) - wanted).max()
    sys.stdout.write(f"{where} {layout}: largest error {ours:.2g}; half-precision coordinates {coordinates:.2g}\n")
    assert ours <= coordinates / 10


def half_coordinates(level: npt.NDArray[np.float64], boxes: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """RoIAlign 7 x 7 at stride 4 with boxes and coordinates rounded to float16, values and sums exact, as a lower
    bound of what an op that computes all of it in half precision (NVIDIA's ROIAlign_TRT) is off."""
    half = np.float16
    found = np.zeros((len(boxes), level.shape[0], 7, 7))
    quarter, shift = half(0.25), half(0.5)
    for row, box in enumerate(boxes.astype(half)):
        x0, y0, x1, y1 = (half(edge * quarter - shift) for edge in box)
        columns = _half_axis(x0, half((x1 - x0) / half(7)), level.shape[2])
        lines = _half_axis(y0, half((y1 - y0) / half(7)), level.shape[1])
        found[row] = np.einsum("ph,chw,qw->cpq", lines, level, columns)
    return found


def _half_axis(start: np.float16, side: np.float16, cells: int) -> npt.NDArray[np.float64]:
    """[7, cells]: weights of two samples a bin, their positions in half precision."""
    half = np.float16
    weights = np.zeros((7, cells))
    for index, sample in np.ndindex(7, 2):
        at = half(start + half(index) * side + half(half(sample + 0.5) * side / half(2)))
        if not -1.0 <= at <= cells:
            continue
        at = min(max(at, half(0)), half(cells - 1))
        low = min(int(at), cells - 1)
        weights[index, low] += (1.0 - float(at - half(low))) / 2
        weights[index, min(low + 1, cells - 1)] += float(at - half(low)) / 2
    return weights
