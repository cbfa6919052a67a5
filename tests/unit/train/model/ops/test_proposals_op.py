"""`maskline::proposal_nms` as PyTorch's compiler sees it."""

from __future__ import annotations

import pytest
import torch
from maskline_train.model.ops.proposals import proposal_nms_op
from maskline_train.model.rpn import proposal_nms
from maskline_train.spec import AnchorSpec, ProposalSpec

ANCHORS = AnchorSpec(sizes_px=(16.0, 32.0))
SPEC = ProposalSpec(pre_nms_per_level=20, max_proposals=30)
INFO = torch.tensor([[96.0, 128.0, 1, 1, 96, 128], [60.0, 70.0, 1, 1, 60, 70]])


def outputs(dtype=torch.float32, requires_grad=False):
    generator = torch.Generator().manual_seed(0)
    cells = ((24, 32), (12, 16))
    logits = [torch.randn(2, 3, *size, generator=generator).to(dtype) for size in cells]
    deltas = [torch.randn(2, 12, *size, generator=generator).to(dtype) * 0.5 for size in cells]
    return [level.requires_grad_(requires_grad) for level in logits], deltas


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_results_are_like_real_ones(dtype):
    logits, deltas = outputs(dtype)
    settings = (list(ANCHORS.sizes_px), list(ANCHORS.aspect_ratios), False, 0.0, False, 20, 30, 0.7, 1e-3, 0.1)
    torch.library.opcheck(proposal_nms_op, (logits, deltas, INFO, 2, *settings))


def test_compiled_proposals_are_the_eager_ones_and_no_step_leaves_the_graph():
    def step(logits, deltas):
        proposals, counts = proposal_nms(logits, deltas, INFO, ANCHORS, SPEC)
        return proposals, counts, logits[0].sum()  # a loss beside them, which takes a gradient

    logits, deltas = outputs(requires_grad=True)
    expected = step(logits, deltas)
    found = torch.compile(step, fullgraph=True, backend="aot_eager")(logits, deltas)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert [tensor.requires_grad for tensor in found] == [False, False, True]
    assert expected[1].min() > 0
