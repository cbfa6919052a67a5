"""All ops of a training step, forward and backward: on a GPU without waiting for it, and as a captured CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import device
import pytest
import torch
from maskline_train.model.ops import mask_targets as mask_targets_op
from maskline_train.model.ops import proposals as proposals_op
from maskline_train.model.ops import roi_align as roi_align_op
from maskline_train.model.ops.kernels import Kernels
from maskline_train.model.ops.proposal_kernels import propose
from maskline_train.model.ops.roi_align_kernels import gradients, mask_targets, pool
from maskline_train.model.roi.multiscale import multiscale_roi_align
from maskline_train.model.rpn import proposal_nms
from maskline_train.spec import AnchorSpec, ProposalSpec, RoIAlignSpec
from torch.utils._python_dispatch import TorchDispatchMode

ANCHORS, COUNTS = (
    AnchorSpec(sizes_px=(16.0, 32.0)),
    ProposalSpec(pre_nms_per_level=40, max_proposals=12, score_thresh=0.8),
)
# Shares of the largest value: some roundings of positions and sums to 24, 11 and 8 bits, where a wrong box, map or
# image is off by the values' own size.
APART = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 0.1}
Inputs = dict[str, list[torch.Tensor]]
MODES = ["align_avg", "align_max", "pool", "warp"]


def inputs(where: str, dtype: torch.dtype, seed: int) -> Inputs:
    generator = torch.Generator().manual_seed(seed)

    def maps(channels: int) -> list[torch.Tensor]:
        found = [torch.randn(2, channels, *size, generator=generator) for size in ((24, 32), (12, 16))]
        return [level.to(where, dtype).contiguous(memory_format=torch.channels_last) for level in found]

    info = torch.tensor([[90.0, 121.0, 1, 1, 90, 121], [60.0, 70.0, 1, 1, 60, 70]])
    crops = (torch.rand(24 * 30, generator=generator) > 0.5).to(torch.uint8)
    return {"features": maps(8), "logits": maps(3), "deltas": maps(12), "rest": [info.to(where), crops.to(where)]}


def make_step(mode: str, given: Inputs) -> Callable[[], list[torch.Tensor]]:
    """Proposals, their features, the features' gradients and mask targets of the proposals."""
    where = given["features"][0].device
    features = [level.requires_grad_() for level in given["features"]]
    info, pixels = given["rest"]
    spec = RoIAlignSpec(mode=mode, canonical_size_px=64.0)  # type: ignore[arg-type]
    starts = torch.zeros(24, dtype=torch.int64, device=where)
    windows = torch.tensor([[5, 6, 24, 30]] * 24, dtype=torch.int32, device=where)

    def step() -> list[torch.Tensor]:
        boxes, counts = proposal_nms(given["logits"], given["deltas"], info, ANCHORS, COUNTS)
        pooled = multiscale_roi_align(features, boxes, spec, 7)
        of_features = torch.autograd.grad(pooled.float().sum(), features)
        targets = mask_targets_op.mask_targets(pixels, starts, windows, boxes.flatten(0, 1), 28, True)
        return [boxes, counts, pooled.detach(), *of_features, targets]

    return step


def assert_close(found: list[torch.Tensor], expected: list[torch.Tensor], dtype: torch.dtype) -> None:
    assert expected[1].min() > 0
    assert bool(expected[3].any())
    for mine, right in zip(found, expected, strict=True):
        largest = max(1.0, float(right.abs().max()))
        assert float((mine.cpu().float() - right.float()).abs().max()) <= APART[dtype] * largest


@pytest.mark.parametrize("mode", MODES)
def test_a_step_over_the_kernels_is_that_of_pytorchs_operators(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make_step(mode, inputs("cpu", torch.float32, 0))()
    device.simt()
    kernels = Kernels(device.built(device.SIMT))
    for op in (roi_align_op, proposals_op, mask_targets_op):
        monkeypatch.setattr(op, "kernels_for", lambda _: kernels)
    found = make_step(mode, inputs("cpu", torch.float32, 0))()
    assert_close(found, expected, torch.float32)


class Walk(TorchDispatchMode):
    """Notes every operator of PyTorch that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.add(str(function).removeprefix("aten.").partition(".")[0])
        return function(*args, **(kwargs or {}))


WAITING = {
    "nonzero",
    "_local_scalar_dense",
    "masked_select",
    "_unique2",
    "unique_dim",
    "lift_fresh",
    "repeat_interleave",
}


@pytest.mark.parametrize("mode", MODES)
def test_around_the_kernels_no_operator_would_wait_for_a_gpu(mode: str) -> None:
    """What the ops are made of, which nothing outside of them sees: sizes and numbers never come from the device."""
    device.simt()
    kernels = Kernels(device.built(device.SIMT))
    given = inputs("cpu", torch.bfloat16, 0)
    info, pixels = given["rest"]
    spec = RoIAlignSpec(mode=mode, canonical_size_px=64.0)  # type: ignore[arg-type]
    images = torch.arange(24) // 12
    starts, windows = torch.zeros(24, dtype=torch.int64), torch.tensor([[5, 6, 24, 30]] * 24, dtype=torch.int32)
    with Walk() as walk:
        boxes, _ = propose(kernels, given["logits"], given["deltas"], info, ANCHORS, COUNTS, 2)
        boxes = boxes.flatten(0, 1)
        pooled = pool(kernels, given["features"], boxes, images, spec, 7, 2)
        gradients(kernels, pooled, given["features"], boxes, images, spec, 2, deterministic=False)
        mask_targets(kernels, pixels, starts, windows, boxes, 28, True)
    assert {"empty", "masked_fill", "zeros_like"} <= walk.seen
    assert not walk.seen & WAITING


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within: what waits for the GPU is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", list(APART), ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_step_on_a_gpu_never_waits_and_can_be_captured(mode: str, dtype: torch.dtype) -> None:
    device.cuda()
    given = inputs("cuda", dtype, 0)
    step = make_step(mode, given)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()  # modules load on the first call
        with no_waiting():
            once = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for seed, found, run in ((0, once, lambda: None), (1, captured, graph.replay)):
        for name, tensors in inputs("cuda", dtype, seed).items():
            for old, new in zip(given[name], tensors, strict=True):
                old.data.copy_(new)
        run()
        torch.cuda.synchronize()
        assert_close(found, make_step(mode, inputs("cpu", dtype, seed))(), dtype)
