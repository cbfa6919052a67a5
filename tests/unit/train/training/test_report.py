"""What steps say of themselves: read late on a GPU, nothing lost, the first number that is not finite named."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest
import torch
from maskline_train.distributed import Processes
from maskline_train.recipe import TrainingSpec
from maskline_train.training.interruption import NonFiniteLossError
from maskline_train.training.report import STEPS_UNREAD, Report, Reports
from maskline_train.training.schedule import StepDecay
from support.processes.two import run_two

TRAINING = TrainingSpec(steps=100, decay=StepDecay((), 0.1))
# Of a GPU only the rule is at hand here: the numbers of this test lie where they can be read.
GPU, CPU = (Processes(0, 1, torch.device(name)) for name in ("cuda", "cpu"))


def report(step: int, loss: float = 1.0, norm: float = 2.0) -> Report:
    return Report(step, ("loss", "box", "grad_norm"), torch.tensor([loss, loss / 2, norm]), 0.1 * step)


def test_a_cpu_reads_each_step_and_a_gpu_the_first_then_some_at_once() -> None:
    for processes, steps in ((CPU, 1), (GPU, STEPS_UNREAD)):
        reports = Reports(TRAINING, processes)
        assert not reports.due(0) or processes is CPU
        reports.add(report(0))
        assert reports.due(0)
        reports.read(0)
        for step in range(1, steps + 1):
            assert not reports.due(0) or processes is CPU
            reports.add(report(step, loss=float(step)))
        assert reports.due(0)
        values, stop = reports.read(0)
        assert values == pytest.approx({"loss": steps, "box": steps / 2, "grad_norm": 2.0, "lr": 0.1 * steps})
        assert stop == 0
        assert not reports.due(0) or processes is CPU


def test_a_signal_is_heard_at_once_by_a_process_that_is_alone() -> None:
    reports = Reports(TRAINING, GPU)
    reports.add(report(1))
    reports.read(0)
    reports.add(report(2))
    assert not reports.due(0)
    assert reports.due(signal.SIGINT)
    assert reports.read(signal.SIGINT)[1] == signal.SIGINT
    shared = Reports(TRAINING, Processes(0, 2, torch.device("cuda")))
    shared.add(report(1))
    shared.read(0)
    shared.add(report(2))
    assert not shared.due(signal.SIGINT)  # the other one would wait for a reduction that never comes


@pytest.mark.parametrize(("loss", "norm", "name"), [(math.nan, 2.0, "box"), (1.0, math.inf, "grad_norm")])
def test_the_first_step_that_is_not_finite_is_named(loss: float, norm: float, name: str) -> None:
    reports = Reports(TRAINING, GPU)
    for step in range(1, 6):
        reports.add(report(step, *((loss, norm) if step >= 3 else ())))
    with pytest.raises(NonFiniteLossError, match=rf"step 3: {name} is .*the rate was 0\.3\)"):
        reports.read(0)


PROCESS = """
import json
import torch
from torch import distributed
from maskline_train.distributed import Processes
from maskline_train.recipe import TrainingSpec
from maskline_train.training.report import Report, Reports
from maskline_train.training.schedule import StepDecay

distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
reports = Reports(TrainingSpec(steps=9, decay=StepDecay((), 0.1)), Processes(rank, 2, torch.device("cpu")))
for step in (1, 2):
    reports.add(Report(step, ("loss",), torch.tensor([float(10 * step + rank)]), 0.1))
(folder / f"{rank}.json").write_text(json.dumps(reports.read(2 if rank else 0)))
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_processes_agree_on_the_numbers_and_on_the_signal_of_one(tmp_path: Path) -> None:
    run_two(PROCESS, folder=tmp_path)
    (first, of_first), (second, of_second) = (json.loads((tmp_path / f"{i}.json").read_text()) for i in (0, 1))
    assert first == second == {"loss": 20.5, "lr": 0.1}
    assert (of_first, of_second) == (signal.SIGTERM, signal.SIGINT)  # who did not get it ends as if asked to
