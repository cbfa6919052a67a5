"""`maskline::multiscale_roi_align` as PyTorch's compiler and autograd see it."""

from __future__ import annotations

import pytest
import torch
from maskline_train.model.ops.roi_align import multiscale_roi_align_backward_op, multiscale_roi_align_op
from maskline_train.model.roi.multiscale import multiscale_roi_align, roi_align_flat
from maskline_train.spec import RoIAlignSpec

MODES = [
    RoIAlignSpec(mode=mode, sampling_ratio=ratio, canonical_size_px=64.0)
    for mode, ratios in (("align_avg", (2, 0)), ("align_max", (2, 0)), ("pool", (2,)), ("warp", (2, 0)))
    for ratio in ratios
]
BOXES = torch.tensor(
    [
        [3.0, 5.0, 30.0, 21.0],
        [-20.0, -9.0, 90.0, 133.0],  # leaves the map
        [0.0, 0.0, 0.0, 0.0],  # padding
        [10.0, 12.0, 140.0, 90.0],
    ]
)
IMAGES = torch.tensor([1, 0, 0, 1])


def pyramid(dtype=torch.float32, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, size, size, generator=generator).to(dtype) for size in (16, 8)]
    return [level.contiguous(memory_format=torch.channels_last).requires_grad_(requires_grad) for level in maps]


def arguments(spec, *maps):
    settings = (spec.sampling_ratio, spec.aligned, spec.canonical_size_px, spec.canonical_level, spec.mode)
    return list(maps), BOXES, IMAGES, 4, 3, *settings


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [*((spec, torch.float32) for spec in MODES), (MODES[0], torch.bfloat16), (MODES[1], torch.float64)],
    ids=str,
)
def test_fake_results_and_gradients_are_like_real_ones(spec, dtype):
    """By PyTorch's own check: schema, fake kernels (shape, dtype, strides), autograd, tracing with dynamic shapes."""
    maps = pyramid(dtype, requires_grad=True)
    torch.library.opcheck(multiscale_roi_align_op, arguments(spec, *maps))
    given = arguments(spec, *(level.detach() for level in maps))
    pooled, greatest = multiscale_roi_align_op(*given)
    torch.library.opcheck(multiscale_roi_align_backward_op, (torch.ones_like(pooled), greatest, *given))


@pytest.mark.parametrize("spec", MODES, ids=str)
def test_compiled_gradients_are_the_eager_ones_and_no_step_leaves_the_graph(spec):
    def step(maps):
        pooled = multiscale_roi_align(maps, BOXES.reshape(2, 2, 4), spec, 4, first_level=3)
        return (pooled * torch.arange(16.0).reshape(4, 4)).square().sum()

    found = []
    for run in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        maps = pyramid(requires_grad=True)
        loss = run(maps)
        found.append((loss.detach(), *torch.autograd.grad(loss, maps)))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert all(bool(gradient.any()) for gradient in found[0][1:])


@pytest.mark.parametrize("spec", MODES, ids=str)
def test_autocast_changes_nothing(spec):
    """Features keep the trunk's type, and sums are float32, whether a step runs under autocast or not."""
    found = []
    for enabled in (False, True):
        maps = pyramid(torch.bfloat16, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            pooled = roi_align_flat(maps, BOXES, IMAGES, spec, 4, first_level=3)
        found.append((pooled.detach(), *torch.autograd.grad(pooled.square().sum(), maps)))
    assert found[0][0].dtype == torch.bfloat16
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
