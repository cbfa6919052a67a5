"""`maskline::mask_targets` as PyTorch's compiler sees it."""

from __future__ import annotations

import torch
from maskline_train.model.ops.mask_targets import mask_targets

PIXELS = (torch.rand(20 * 30 + 8 * 9, generator=torch.Generator().manual_seed(0)) > 0.5).to(torch.uint8)
STARTS = torch.tensor([0, 600, 0, 0])
WINDOWS = torch.tensor([[10, 12, 20, 30], [3, 4, 8, 9], [0, 0, 0, 0], [10, 12, 20, 30]], dtype=torch.int32)
BOXES = torch.tensor([[9.5, 10.0, 31.0, 44.0], [3.0, 4.0, 9.0, 11.0], [0.0, 0.0, 0.0, 0.0], [12.0, 13.0, 20.0, 19.0]])


def test_fake_results_are_like_real_ones() -> None:
    torch.library.opcheck(mask_targets, (PIXELS, STARTS, WINDOWS, BOXES, 14, True))


def test_compiled_targets_are_the_eager_ones_and_no_step_leaves_the_graph() -> None:
    def step(boxes: torch.Tensor) -> torch.Tensor:
        return mask_targets(PIXELS, STARTS, WINDOWS, boxes + 0.25, 14, False).round()

    found = torch.compile(step, fullgraph=True, backend="aot_eager")(BOXES)
    assert torch.equal(found, step(BOXES))
    assert bool(found.any())
