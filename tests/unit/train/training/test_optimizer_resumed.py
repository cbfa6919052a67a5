"""A run that goes on computes its updates as its own recipe says, whatever the run before did."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from maskline_train.training.state import TrainingState, restore, save_checkpoint
from support.models.tiny import tiny_model
from torch.amp.grad_scaler import GradScaler


def state_of(fused: bool | None) -> TrainingState:
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)
    return TrainingState(model, optimizer, GradScaler("cpu", enabled=False), None)


@pytest.mark.parametrize(("before", "now"), [(None, True), (True, None)])
def test_the_kernels_of_a_resumed_optimizer_are_those_that_this_run_asked_for(
    tmp_path: Path, before: bool | None, now: bool | None
) -> None:
    first, second = state_of(before), state_of(now)
    for state in (first, second):
        for parameter in state.model.parameters():
            parameter.grad = torch.ones_like(parameter)
    first.optimizer.step()
    first.step = 1
    save_checkpoint(tmp_path, first)
    restore(tmp_path, second)
    assert [group["fused"] for group in second.optimizer.param_groups] == [now]
    momenta = [entry["momentum_buffer"] for entry in second.optimizer.state.values()]
    assert momenta
    assert all(buffer.eq(1).all() for buffer in momenta)
    second.optimizer.step()
