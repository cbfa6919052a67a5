"""Runs MultiscaleRoIAlign's backward on one device in one type and layout, and by the oracle.

Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import reference
import torch
from maskline_host import roi_align
from roi_align_runner import DTYPES, LAYOUTS, Float, Op, attributes_of, packed

DEVICES = ("simt", device.CUDA_ROW)
GUARD, CANARY = 64, 7.0  # floats before and behind each map of gradients, and what they and padded channels hold
Sizes = Sequence[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Expected:
    """The gradient of each level, [B,C,Hi,Wi], and how far float32 sums may be from it."""

    maps: list[Float]
    tolerance: float


def sizes_of(height: int, width: int, strides: Sequence[int]) -> list[tuple[int, int]]:
    """Cells of each level of a canvas."""
    return [(-(-height // stride), -(-width // stride)) for stride in strides]


def incoming(rows: int, channels: int, side: int, dtype: str = "float32", seed: int = 11) -> torch.Tensor:
    """A gradient of pooled features, [B*R,C,P,P] float64 of standard deviation 1, as the type rounds it."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, channels, side, side, generator=generator, dtype=torch.float64).to(DTYPES[dtype]).double()


def expected(op: Op, sizes: Sizes, boxes: npt.NDArray[Any], pooled: torch.Tensor) -> Expected:
    """The oracle's answer: averages are linear, so what the forward makes of maps of one cell is their gradient.

    The tolerance counts roundings of 2^-24 each. Of a cell's sum: one of each of its n terms, and of a weight's 2 S
    parts and 8 operations, relative to the sum of the terms' sizes. Of a position: 4 relative to the box's side, in
    cells, and one to its edge; the weights of both axes move by as much.
    """
    images, count, _ = boxes.shape
    channels = pooled.shape[1]
    maps, sums, terms, moved = ([np.zeros((images, channels, *size)) for size in sizes] for _ in range(4))
    first, points = int(math.log2(op.strides[0])), max(op.sampling_ratio, 1)
    for row, box in enumerate(boxes.reshape(-1, 4).astype(np.float64).tolist()):
        level = reference.level_of(box, op.canonical_size, op.canonical_level, first, first + len(sizes) - 1) - first
        stride, size = op.strides[level], sizes[level]
        side = max(box[2] - box[0], box[3] - box[1], 0.0) / stride + 2.0  # what `warp` makes it wider
        points = max(points, math.ceil(side / op.pooled_side)) if op.sampling_ratio == 0 else points
        cells = np.eye(size[0] * size[1]).reshape(-1, *size)
        read = reference.roi_align(cells, box, stride, op.pooled_side, op.sampling_ratio, op.aligned, op.mode)
        given = pooled[row].numpy()
        position = 4.0 * side + max(abs(edge) for edge in box) / stride + 1.0
        for found, weights, values in (
            (maps, read, given),
            (sums, read, abs(given)),
            (terms, read > 0, np.ones_like(given)),
            (moved, 2.0 * position * (read > 0), abs(given)),
        ):
            found[level][row // count] += np.einsum("kij,cij->ck", weights, values).reshape(channels, *size)
    roundings = [
        ((number + 2 * points + 8) * total + shift).max()
        for number, total, shift in zip(terms, sums, moved, strict=True)
    ]
    return Expected(maps, float(2.0**-24 * max(roundings)))


def run(
    where: str,
    op: Op,
    sizes: Sizes,
    boxes: npt.NDArray[Any],
    pooled: torch.Tensor,
    *,
    dtype: str = "float32",
    layout: str = "nchw",
    deterministic: bool = False,
    seed: int = 0,
    before: float = 0.0,
    features: Sequence[torch.Tensor] | None = None,
) -> list[npt.NDArray[np.float32]]:
    """The op's answer, [B,C,Hi,Wi] a level; fails where it writes beside the maps or into padded channels.

    Args:
        where: device.
        op: attributes.
        sizes: Hi, Wi.
        boxes: [B,R,4].
        pooled: the incoming gradient, [B*R,C,P,P].
        dtype: of the incoming gradient.
        layout: of the incoming gradient and of the answer.
        deterministic: the variant.
        seed: of the emulator's order.
        before: what the maps hold beforehand.
        features: [B,C,Hi,Wi] a level, which maxima need.
    """
    images, count, _ = boxes.shape
    channels = pooled.shape[1]
    stored = -(-channels // 8) * 8 if layout == "hwc8" else channels
    buffers = [torch.full((images * h * w * stored + 2 * GUARD,), CANARY, dtype=torch.float32) for h, w in sizes]
    for buffer in buffers:
        buffer[GUARD:-GUARD].reshape(-1, *((stored,) if layout == "hwc8" else ()))[..., :channels] = before
        if layout == "nchw":
            buffer[GUARD:-GUARD] = before
    given, *maps = (packed(tensor.to(DTYPES[dtype]), layout) for tensor in (pooled, *(features or ())))
    heights, widths = ((ctypes.c_int32 * roi_align.MAX_LEVELS)(*(size[axis] for size in sizes)) for axis in (0, 1))
    shape = roi_align.Shape(list(DTYPES).index(dtype), LAYOUTS.index(layout), images, count, channels, heights, widths)
    config = roi_align.BackwardConfig(attributes=attributes_of(op), shape=shape, deterministic=int(deterministic))
    _call(where, config, maps, given, torch.from_numpy(np.ascontiguousarray(boxes, np.float32)), buffers, seed)
    found = []
    for buffer, size in zip(buffers, sizes, strict=True):
        assert (buffer[:GUARD] == CANARY).all(), "written before a map"
        assert (buffer[-GUARD:] == CANARY).all(), "written behind a map"
        inner = buffer[GUARD:-GUARD]
        if layout == "hwc8":
            inner = inner.reshape(images, *size, stored)
            assert (inner[..., channels:] == CANARY).all(), "padded channels must stay"
            inner = inner[..., :channels].permute(0, 3, 1, 2)
        found.append(inner.reshape(images, channels, *size).numpy())
    return found


def _call(
    where: str,
    config: roi_align.BackwardConfig,
    features: list[torch.Tensor],
    pooled: torch.Tensor,
    boxes: torch.Tensor,
    buffers: list[torch.Tensor],
    seed: int,
) -> None:
    library = device.simt(seed) if where == "simt" else device.cuda()
    given, around, *moved = (tensor if where == "simt" else tensor.cuda() for tensor in (pooled, boxes, *buffers))
    read = [tensor if where == "simt" else tensor.cuda() for tensor in features]
    gradients = (ctypes.c_void_p * len(buffers))(*(buffer[GUARD:].data_ptr() for buffer in moved))
    maps = (ctypes.c_void_p * len(read))(*(level.data_ptr() for level in read)) if read else None
    stream = None if where == "simt" else ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    addresses = (ctypes.c_void_p(given.data_ptr()), ctypes.c_void_p(around.data_ptr()))
    call = library.maskline_device_multiscale_roi_align_backward
    device.check(library, call(ctypes.byref(config), maps, *addresses, None, gradients, stream))
    for buffer, filled in zip(buffers, moved, strict=True):
        buffer.copy_(filled)


def assert_close(found: Sequence[npt.NDArray[Any]], wanted: Expected) -> None:
    """Each level within what float32 sums may be off."""
    for level, right in zip(found, wanted.maps, strict=True):
        np.testing.assert_allclose(level, right, rtol=0, atol=wanted.tolerance)
