"""A signal during the evaluation of a step: the step is saved already, the evaluation stops, a later run does it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from maskline_train.cli import main
from maskline_train.training.metrics_log import MetricsLog, read_metrics
from support.data.shapes_data import write_shapes
from support.processes.in_process import call
from unit.train.training.test_resume import RECIPE, last_step, losses


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evaluations(out: Path) -> list[dict[str, float | str]]:
    return [entry for entry in read_metrics(out / "metrics.jsonl") if entry["kind"] == "evaluation"]


def test_it_is_answered_at_once_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_shapes(tmp_path / "shapes", {"train": 10, "val": 4})
    whole, out = tmp_path / "whole", tmp_path / "run"
    recipe = tmp_path / "often.py"
    recipe.write_text(Path(RECIPE).read_text().replace("evaluate_every=100", "evaluate_every=5"))

    def fit(folder: Path) -> int:
        return call(main, "fit", str(recipe), "--data", str(data), "--out", str(folder), "--resume")

    assert fit(whole) == 0
    steps = [int(entry["step"]) for entry in evaluations(whole)]
    assert steps == [5, 10, 12]
    seen: list[tuple[int, int]] = []
    show = MetricsLog.evaluating

    def interrupting(log: MetricsLog, step: int, done: int, count: int) -> int:
        assert last_step(out) == step  # saved before the evaluation
        if step == at:
            seen.append((step, done))
            os.kill(os.getpid(), signal.SIGINT)
        return show(log, step, done, count)

    monkeypatch.setattr(MetricsLog, "evaluating", interrupting)
    for at in steps:  # the last one comes after the last step
        assert fit(out) == 130
        assert seen.pop() == (at, 1)  # the first image, and no second one
        assert not seen
        said = capfd.readouterr().err
        assert "SIGINT: ending this step or evaluation" in said
        assert f"interrupted by SIGINT after step {at}; {out / 'last'} holds it" in said
    monkeypatch.undo()
    assert fit(out) == 0
    assert losses(out) == losses(whole)
    assert evaluations(out) == evaluations(whole)
    assert (out / "best").resolve().name == (whole / "best").resolve().name
    assert fit(out) == 0
    assert "this run is finished" in capfd.readouterr().err
