"""The backward of RoIAlign on the GPU as training calls it, ours in two variants and torchvision's autograd."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from maskline_bench.device_ops.cases import OURS, STRIDES, Case, Size, boxes_of, torchvision_roi_align
from maskline_bench.device_ops.library import DeviceOps

# Of the largest gradient: sums of hundreds of float32 terms, 2^-24 each, at positions of up to 336 cells (2e-5 of one).
APART = 1e-3


def backward_case(ops: DeviceOps, size: Size, where: str, batch: int, boxes: int, side: int) -> Case:
    """G14: clearing the gradients of all levels and adding to them, from a gradient in bfloat16 and in float32."""
    generator = torch.Generator().manual_seed(2)
    cells = [(-(-size.height // stride), -(-size.width // stride)) for stride in STRIDES]
    rois = boxes_of(size, batch, boxes, generator).to(where)
    # What bfloat16 holds, so that all sides add the same.
    shape = (batch * boxes, size.channels, side, side)
    half = torch.randn(shape, generator=generator).to(where, torch.bfloat16)
    incoming, packed = half.float(), half.permute(0, 2, 3, 1).contiguous()
    maps = [torch.zeros(batch, size.channels, *level, device=where, requires_grad=True) for level in cells]
    pooled = torchvision_roi_align(maps, list(rois), size=size, side=side)

    def theirs() -> Sequence[torch.Tensor]:
        return torch.autograd.grad(pooled, maps, incoming, retain_graph=True)

    sides: dict[str, Callable[[], object]] = {}
    gates: dict[str, tuple[Callable[[], float], float]] = {}
    for name, given, hwc8, deterministic in (
        ("bf16 NHWC", packed, True, False),
        ("bf16 NHWC deterministic", packed, True, True),
        ("fp32 NCHW", incoming, False, False),
    ):
        run, found = ops.roi_align_backward(given, rois, STRIDES, cells, hwc8, deterministic)
        sides[f"{OURS} {name}"] = run
        gates[f"{OURS} {name}"] = (functools.partial(_apart, run, found, theirs, hwc8), APART)
    return Case(
        f"G14 backward of RoIAlign {boxes} x {side} x {side}, batch {batch}",
        None,
        batch,
        packed.numel() * 2 + sum(level.numel() * 4 for level in maps),
        {**sides, "torchvision fp32": theirs},
        gates,
    )


def _apart(
    run: Callable[[], None], found: list[torch.Tensor], theirs: Callable[[], Sequence[torch.Tensor]], hwc8: bool
) -> float:
    """The largest difference, as a share of the largest gradient."""
    run()
    ours = [level.permute(0, 3, 1, 2) if hwc8 else level for level in found]
    right = theirs()
    largest = max(float(level.abs().max()) for level in right)
    return max(float((mine - level).abs().max()) for mine, level in zip(ours, right, strict=True)) / largest
