"""Recorded steps are the steps themselves: on a CPU by a recorder of PyTorch's operators, on a GPU by CUDA's graphs.

The recorder of a CPU notes each operator that runs below autograd with the memory that it reads and writes, and repeats
them without a line of Python, as a CUDA graph does. What of a step is a number of Python's stays what it was.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from maskline_train.data.loader import Batch
from maskline_train.distributed import Processes
from maskline_train.ground_truth import batched
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import AdamW, Sgd, TrainingSpec
from maskline_train.spec import ModelSpec
from maskline_train.training.graphs import MOST, SEEN, CudaRecorder, Inputs, Losses, StepGraphs
from maskline_train.training.schedule import StepDecay
from maskline_train.training.state import TrainingState
from maskline_train.training.step import gradients, make_gradients, train_step
from support.models.training_variants import MASKS_AND_KEYPOINTS, VARIANTS, batch, small_model, with_points_of
from torch.amp.grad_scaler import GradScaler
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CPU = Processes(0, 1, torch.device("cpu"))
STEPS = {name: VARIANTS[name] for name in ("frozen norms", "group norms", "C4 of bottlenecks, frozen")}
STEPS["masks and keypoints"] = MASKS_AND_KEYPOINTS
RECORDED_IN_CI = ("frozen norms", "masks and keypoints")


class Notes(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], Any, Any, Any]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        for function, args, kwargs, result in self.calls:
            for old, new in zip(tree_leaves(result), tree_leaves(function(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor) and old.untyped_storage()._cdata != new.untyped_storage()._cdata:
                    old.copy_(new)  # else a view, or what was changed in place: it lies where it lay


def on_host(work: Callable[[], Losses]) -> tuple[Losses, Callable[[], None]]:
    with Notes() as notes:
        result = work()
    return result, notes.replay


def training_of(**changes: Any) -> TrainingSpec:
    return TrainingSpec(
        **{"steps": 100, "decay": StepDecay((), 0.1), "total_batch": 2, "reference_batch": 2, "warmup_steps": 4,
           "base_lr": 0.01, "clip_norm": 5.0, "ema_decay": None, **changes}
    )  # fmt: skip


def run(model: MaskRCNN, batches: list[Batch], training: TrainingSpec, processes: Processes, record: Any) -> list:
    """The numbers of each step."""
    state = TrainingState(
        model,
        training.build_optimizer(model, processes.device),
        GradScaler(processes.device.type, enabled=training.amp == "fp16"),
        None,
    )
    compute: Any = make_gradients(model, state, training, processes)
    if record is not None:
        compute = StepGraphs(functools.partial(gradients, model, state, training.amp, keep=True), record)
    found = []
    for each in batches:
        report = train_step(compute, state, each.to(processes.device), training, processes)
        state.step += 1
        found.append(dict(zip(report.names, report.numbers.tolist(), strict=True)))
    return found


def batches_of(spec: ModelSpec, steps: int) -> list[Batch]:
    """Two sizes in turn, each picture another one every time."""
    canvas, info, targets = batch()
    targets = with_points_of(targets, spec)
    generator = torch.Generator().manual_seed(1)
    found = []
    for number in range(steps):
        noise = torch.randint(0, 256, canvas.shape, generator=generator, dtype=torch.uint8)
        height = 64 if number % 3 == 1 else 96
        moved = [dataclasses.replace(t, boxes=t.boxes - torch.tensor([number % 5, 0.0, 0.0, 0.0])) for t in targets]
        cut = [dataclasses.replace(t, boxes=t.boxes.clamp(max=60.0), masks=t.masks[:, :height]) for t in moved]
        cut_info = info.clone()
        cut_info[:, [0, 4]] = cut_info[:, [0, 4]].clamp(max=float(height))
        found.append(Batch(noise[:, :height].contiguous(), cut_info, batched(cut), (0, 1)))
    return found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in RECORDED_IN_CI else pytest.mark.long) for name in STEPS]
)
def test_recorded_steps_are_those_that_were_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MaskRCNN, "_leaves_rows_out", lambda self, device: False)  # sizes as on a GPU
    training, first = training_of(optimizer=Sgd()), small_model(STEPS[name]).train()
    second, batches = copy.deepcopy(first), batches_of(STEPS[name], 2 * (SEEN + 4))
    plain = run(first, batches, training, CPU, None)
    recorded: list[Callable[[], None]] = []

    def record(work: Callable[[], Losses]) -> tuple[Losses, Callable[[], None]]:
        recorded.append(work)
        return on_host(work)

    found = run(second, batches, training, CPU, record)
    assert len(recorded) == 2
    assert len({step["loss"] for step in plain}) == len(batches)
    # The same operators on the same numbers.
    assert found == [pytest.approx(step, rel=1e-6) for step in plain]
    for parameter, expected in zip(second.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuda: no GPU on this machine")
@pytest.mark.parametrize("changes", [{"optimizer": Sgd()}, {"optimizer": AdamW(), "amp": "bf16"}, {"amp": "fp16"}])
@pytest.mark.parametrize("name", STEPS)
def test_a_gpu_replays_what_it_would_compute(name: str, changes: dict[str, Any]) -> None:
    """Rates of zero, so that the sums that a GPU adds up in another order each time do not grow from step to step."""
    gpu = Processes(0, 1, torch.device("cuda", 0))
    first = small_model(STEPS[name]).train().to(gpu.device)
    second, batches = copy.deepcopy(first), batches_of(STEPS[name], 2 * (SEEN + 4))
    training = training_of(base_lr=0.0, **changes)
    plain = run(first, batches, training, gpu, None)
    replayed: list[int] = []
    recorder = CudaRecorder()

    def record(work: Callable[[], Losses]) -> tuple[Losses, Callable[[], None]]:
        result, replay = recorder(work)
        return result, lambda: (replayed.append(1), replay())[1]

    found = run(second, batches, training, gpu, record)
    assert len(replayed) == len(batches) - 2 * SEEN
    # float32 sums in another order; in half precision a rounding of a feature is 2^-8 of it, and some thousand average.
    tolerance = 1e-4 if training.amp == "off" else 2e-2
    assert found == [pytest.approx(step, rel=tolerance) for step in plain]


def test_a_size_is_recorded_when_it_has_come_often_enough_and_no_more_than_fit() -> None:
    ran: list[tuple[int, ...]] = []
    recorded: list[int] = []

    def work(inputs: Inputs) -> Losses:
        (given, nothing) = inputs
        assert given is not None
        assert nothing is None
        ran.append(tuple(given.shape))
        return {"loss": given.sum() * 2}

    def record(work: Callable[[], Losses]) -> tuple[Losses, Callable[[], None]]:
        recorded.append(1)
        return on_host(work)

    graphs = StepGraphs(work, record)
    for size in range(1, MOST + 2):
        for step in range(SEEN + 3):
            given = torch.full((size,), float(step))
            assert graphs([given, None])["loss"].item() == 2 * size * step
            assert (given == step).all()
    assert len(recorded) == MOST
    assert ran.count((1,)) == SEEN + 1  # and once for the recording
    assert ran.count((MOST + 1,)) == SEEN + 3
    assert graphs([torch.ones(1, dtype=torch.float64), None])["loss"].dtype == torch.float64


def test_the_recorder_of_a_cpu_keeps_numbers_of_python_as_a_graph_does() -> None:
    count = itertools.count()
    graphs = StepGraphs(lambda inputs: {"loss": inputs[0] * next(count)}, on_host)  # type: ignore[operator]
    found = [graphs([torch.ones(())])["loss"].item() for _ in range(SEEN + 3)]
    assert found == [*range(SEEN), SEEN, SEEN, SEEN]


def test_a_step_that_cannot_be_recorded_says_what_to_change() -> None:
    def refuse(_: Callable[[], Losses]) -> tuple[Losses, Callable[[], None]]:
        try:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")
        finally:  # as `torch.cuda.graph` does on its way out
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    graphs = StepGraphs(lambda inputs: {"loss": torch.ones(())}, refuse)
    for _ in range(SEEN):
        graphs([None])
    with pytest.raises(ValueError, match=r"graph: a step cannot be recorded \(CUDA error: .* capturing\); set it to F"):
        graphs([None])


def test_a_cpu_and_several_processes_do_without() -> None:
    model = small_model(VARIANTS["frozen norms"])
    training = training_of(graph=True)
    state = TrainingState(model, training.build_optimizer(model, CPU.device), GradScaler("cpu", enabled=False), None)
    for processes in (CPU, Processes(0, 2, torch.device("cuda", 0))):
        assert not isinstance(make_gradients(model, state, training, processes), StepGraphs)
