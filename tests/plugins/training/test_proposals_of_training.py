"""`maskline::proposal_nms` over the kernels, as training reaches them, beside PyTorch's own operators."""

from __future__ import annotations

import dataclasses

import device
import pytest
import tolerances
import torch
from maskline_train.model.ops import proposals
from maskline_train.model.ops.kernels import Kernels
from maskline_train.model.proposals import proposals_by_level
from maskline_train.model.rpn import proposal_nms
from maskline_train.spec import AnchorSpec, ProposalSpec

ANCHORS = AnchorSpec(sizes_px=(16.0, 32.0))
SPEC = ProposalSpec(pre_nms_per_level=40, max_proposals=30)
INFO = torch.tensor([[90.0, 121.0, 1, 1, 90, 121], [60.0, 70.0, 1, 1, 60, 70]])


@pytest.fixture(params=["simt", device.CUDA_ROW])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The op of PyTorch runs the kernels for tensors of this device."""
    if request.param == "simt":
        device.simt()
        kernels = Kernels(device.built(device.SIMT))
        monkeypatch.setattr(proposals, "kernels_for", lambda _: kernels)
        return "cpu"
    device.cuda()
    return "cuda"


def outputs(where: str, dtype: torch.dtype = torch.float32, cells: tuple[tuple[int, int], ...] = ((24, 32), (12, 16))):
    generator = torch.Generator().manual_seed(0)
    found = []
    for channels in (3, 12):
        maps = [torch.randn(2, channels, *size, generator=generator) for size in cells]
        found.append([level.to(where, dtype).contiguous(memory_format=torch.channels_last) for level in maps])
    return found


VARIANTS = [
    pytest.param(ANCHORS, SPEC, torch.float32, id="float32"),
    pytest.param(ANCHORS, SPEC, torch.bfloat16, id="bfloat16"),
    pytest.param(ANCHORS, dataclasses.replace(SPEC, score_thresh=0.9), torch.float32, id="score cut"),
    pytest.param(dataclasses.replace(ANCHORS, rounded=True, centre_offset=0.5), SPEC, torch.float32, id="rounded"),
    pytest.param(AnchorSpec(sizes_px=(8.0, 16.0, 32.0, 64.0), aspect_ratios=(1.0,)), SPEC, None, id="sizes a level"),
]


@pytest.mark.parametrize(("anchors", "spec", "dtype"), VARIANTS)
def test_proposals_are_those_of_pytorchs_operators(anchors, spec, dtype, where) -> None:
    logits, deltas = outputs(where, dtype or torch.float32)
    if dtype is None:  # two anchors a cell
        logits, deltas = [level[:, :2] for level in logits], [level[:, :8] for level in deltas]
    found, counts = proposal_nms(logits, deltas, INFO.to(where), anchors, spec)
    cpu = ([level.cpu() for level in levels] for levels in (logits, deltas))
    expected, right = proposals_by_level(*cpu, INFO, anchors, spec)
    assert (counts.dtype, counts.tolist()) == (torch.int64, right.tolist())
    assert right.min() > 0
    assert torch.allclose(found.cpu(), expected, rtol=0, atol=tolerances.BOXES_PX)


def test_anchors_as_far_apart_as_cells_are(where) -> None:
    """The kernels where they are as far apart down as across, PyTorch's operators where they are not."""
    spec = dataclasses.replace(ANCHORS, stride_of_cells=True)
    for cells in (((24, 24), (13, 13)), ((24, 32), (13, 16))):
        logits, deltas = outputs(where, cells=cells)
        found, counts = proposal_nms(logits, deltas, INFO.to(where), spec, SPEC)
        cpu = ([level.cpu() for level in levels] for levels in (logits, deltas))
        expected, right = proposals_by_level(*cpu, INFO, spec, SPEC)
        assert counts.tolist() == right.tolist()
        assert torch.allclose(found.cpu(), expected, rtol=0, atol=tolerances.BOXES_PX)
