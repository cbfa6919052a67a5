"""Trunk and heads by torch's compiler: the same step, and weights of the same names."""

from __future__ import annotations

import pytest
import torch
from maskline_train.model.draws import image_keys
from maskline_train.training.step import compile_parts
from support.models.training_variants import VARIANTS, batch, small_model


@pytest.mark.long  # a compiler of C++ runs for each part
@pytest.mark.parametrize("name", ["frozen norms", "C4 of bottlenecks, frozen"])
def test_a_compiled_step_is_the_step(name: str) -> None:
    model, plain = (small_model(VARIANTS[name]).train() for _ in range(2))
    names = list(model.state_dict())
    compile_parts(model)
    assert list(model.state_dict()) == names
    keys = image_keys(0, 0, range(2))
    expected, found = plain(*batch(), keys), model(*batch(), keys)
    for loss in expected:
        assert found[loss].item() == pytest.approx(expected[loss].item(), rel=1e-4)  # fused sums of float32
    for losses in (expected, found):
        torch.stack(list(losses.values())).sum().backward()
    for (key, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        largest = theirs.grad.abs().max()
        assert (ours.grad - theirs.grad).abs().max() <= 1e-3 * largest + 1e-7, key
