"""Runs MultiscaleRoIAlign on one device in one type and layout, and by the oracle.

Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import ort_runner
import pytest
import reference
import tolerances
import torch
from maskline_host import library, roi_align

Float = npt.NDArray[np.float64]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LAYOUTS = ("nchw", "hwc8")
STRIDES = (4, 8, 16, 32)


@dataclasses.dataclass(frozen=True)
class Op:
    """Attributes of a node; boxes of some ten pixels reach all four levels."""

    pooled_side: int = 7
    sampling_ratio: int = 2
    aligned: bool = True
    mode: str = "align_avg"
    strides: tuple[int, ...] = STRIDES
    canonical_size: float = 40.0
    canonical_level: int = 4


def pyramid(
    height: int, width: int, *, images: int = 1, channels: int = 3, seed: int = 0, strides: Sequence[int] = STRIDES
) -> list[torch.Tensor]:
    """Random maps of a canvas, [B,C,Hi,Wi] float64 of standard deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(images, channels, -(-height // s), -(-width // s), generator=generator, dtype=torch.float64)
        for s in strides
    ]


def random_boxes(height: int, width: int, images: int, count: int, *, seed: int = 0, outside: float = 0.2) -> Float:
    """[B,R,4] float32 values: sides from 2 px to the canvas by logarithm, some partly out of the frame."""
    rng = np.random.default_rng(seed)
    size = np.array([width, height], np.float64)
    sides = 2.0 * (size / 2.0) ** rng.uniform(0, 1, (images, count, 2))
    low = rng.uniform(-outside, 1 + outside, (images, count, 2)) * (size - sides)
    return np.concatenate([low, low + sides], axis=-1).astype(np.float32)


def expected(op: Op, features: Sequence[torch.Tensor], boxes: npt.NDArray[Any]) -> Float:
    """The oracle's answer, [B*R,C,P,P]."""
    count = boxes.shape[1]
    rows = [
        reference.multiscale_roi_align(
            [feature[row // count].double().numpy() for feature in features],
            [float(edge) for edge in box],
            op.strides,
            op.pooled_side,
            op.sampling_ratio,
            op.aligned,
            op.canonical_size,
            op.canonical_level,
            op.mode,
        )
        for row, box in enumerate(boxes.reshape(-1, 4))
    ]
    channels = features[0].shape[1]
    return np.stack(rows) if rows else np.zeros((0, channels, op.pooled_side, op.pooled_side))


def rounded(features: Sequence[torch.Tensor], dtype: str) -> list[torch.Tensor]:
    """The maps as an op of that type sees them, in float64."""
    return [feature.to(DTYPES[dtype]).double() for feature in features]


def run(
    where: str,
    op: Op,
    features: Sequence[torch.Tensor],
    boxes: npt.NDArray[Any],
    *,
    dtype: str = "float32",
    layout: str = "nchw",
    threads: int = 2,
    seed: int = 0,
) -> Float:
    """The op's answer, [B*R,C,P,P]; fails where an element is left unwritten or a padded channel is not zero."""
    images, count, _ = boxes.shape
    channels = features[0].shape[1]
    if where.startswith("ort"):
        if layout != "nchw":
            pytest.skip(f"{where}: ONNX Runtime has no layout with packed channels")
        inputs = [boxes.astype(np.float32), *(feature.float().numpy() for feature in features)]  # cast inside
        found = ort_runner.run(where, "MultiscaleRoIAlign", op, inputs, range(1, len(inputs)), dtype)[0]
        return found.astype(np.float64)
    stored = -(-channels // 8) * 8 if layout == "hwc8" else channels
    maps = [packed(feature.to(DTYPES[dtype]), layout) for feature in features]
    size = [images * count, op.pooled_side, op.pooled_side, stored]
    shape = size if layout == "hwc8" else [size[0], channels, size[1], size[2]]
    output = torch.full(shape, float("nan"), dtype=DTYPES[dtype])  # what is left unwritten shows
    given = torch.from_numpy(np.ascontiguousarray(boxes, np.float32))
    _call(where, op, _shape(features, dtype, layout, count), maps, given, output, threads, seed)
    if layout == "hwc8":
        assert (output[..., channels:] == 0).all(), "padded channels must be zero"
        output = output[..., :channels].permute(0, 3, 1, 2)
    return output.double().numpy()


def packed(feature: torch.Tensor, layout: str) -> torch.Tensor:
    """[B,C,H,W] as it lies in memory of a layout."""
    if layout == "nchw":
        return feature.contiguous()
    images, channels, height, width = feature.shape
    found = torch.full((images, height, width, -(-channels // 8) * 8), float("nan"), dtype=feature.dtype)
    found[..., :channels] = feature.permute(0, 2, 3, 1)  # padding is NaN: it must not reach the answer
    return found


def _shape(features: Sequence[torch.Tensor], dtype: str, layout: str, count: int) -> roi_align.Shape:
    sides = ([feature.shape[axis] for feature in features] for axis in (2, 3))
    heights, widths = ((ctypes.c_int32 * roi_align.MAX_LEVELS)(*side) for side in sides)
    images, channels = features[0].shape[:2]
    return roi_align.Shape(list(DTYPES).index(dtype), LAYOUTS.index(layout), images, count, channels, heights, widths)


def attributes_of(op: Op) -> roi_align.Attributes:
    """As the libraries take them."""
    return roi_align.make_attributes(
        op.strides, op.canonical_size, op.canonical_level, op.pooled_side, op.sampling_ratio, op.aligned, op.mode
    )


def _call(
    where: str,
    op: Op,
    shape: roi_align.Shape,
    maps: list[torch.Tensor],
    boxes: torch.Tensor,
    output: torch.Tensor,
    threads: int,
    seed: int,
) -> None:
    def arguments(tensors: list[torch.Tensor], given: torch.Tensor, found: torch.Tensor, *more: None) -> list[Any]:
        pointers = (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
        config = roi_align.Config(attributes=attributes_of(op), shape=shape)
        addresses = [ctypes.c_void_p(given.data_ptr()), *more, ctypes.c_void_p(found.data_ptr())]
        return [ctypes.byref(config), pointers, *addresses]

    if where == "simt":
        simt = device.simt(seed)
        device.check(simt, simt.maskline_device_multiscale_roi_align(*arguments(maps, boxes, output, None), None))
    elif where == "cuda":
        cuda = device.cuda()
        tensors, given, found = [tensor.cuda() for tensor in maps], boxes.cuda(), output.cuda()
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        device.check(cuda, cuda.maskline_device_multiscale_roi_align(*arguments(tensors, given, found, None), stream))
        output.copy_(found)
    else:
        with device.host(where):
            call = library.load().maskline_host_multiscale_roi_align
            library.check(call(*arguments(maps, boxes, output), ctypes.c_int(threads)))


def assert_close(found: npt.NDArray[Any], wanted: npt.NDArray[Any], peer: str) -> None:
    """Within the tolerance of a type of features, or of a peer."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerances.ROI_ALIGN[peer])
