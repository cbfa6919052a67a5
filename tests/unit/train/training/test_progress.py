"""What a run shows from its first step on, on a terminal and in a file."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import pytest
import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.training.metrics_log import MetricsLog, read_metrics
from support.data.shapes_data import write_shapes
from support.models import tiny_recipe

ALONE = Processes(0, 1, torch.device("cpu"))
VALUES = {"loss": 1.25, "lr": 0.01}


def run(tmp_path: Path) -> list[str]:
    """Seven steps, logged every third; what train.log holds of them."""
    root = write_shapes(tmp_path / "shapes", {"train": 4, "val": 2})
    train_set, val_set = CocoDataset(root, "train"), CocoDataset(root, "val")
    recipe = tiny_recipe.build(train_set.classes)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=7, log_every=3))
    fit(recipe, train_set, val_set, tmp_path / "run", ALONE)
    return re.findall(r" step (\d+)/7, ", (tmp_path / "run" / "train.log").read_text())


def test_a_file_has_a_line_of_the_first_step_then_those_of_train_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == ["3", "6", "7"]
    assert [entry["step"] for entry in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in entry] == [3, 6, 7]
    said = capsys.readouterr()
    assert re.findall(r"^step (\d+)/7, .* images/s, loss \d", said.out, re.MULTILINE) == ["1", "3", "6", "7"]
    assert said.err == ""


def test_a_terminal_shows_the_loss_of_a_step_that_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    monkeypatch.setenv("COLUMNS", "200")
    with MetricsLog(tmp_path, first_step=0, steps=40, active=True) as log:
        log.count(1, 16)
        log.train(1, VALUES, record=False)
    said = capsys.readouterr().out
    assert "the first step is under way" in said
    assert "1/40" in said
    assert "images/s, loss 1.250" in said
    assert (tmp_path / "metrics.jsonl").read_text() == (tmp_path / "train.log").read_text() == ""


def test_the_first_step_does_not_tell_what_the_others_will_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A first step of 100 s, which compiles; then 2 s each, and an evaluation of 30 s between them."""
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    with MetricsLog(tmp_path, first_step=10, steps=20, active=True) as log:
        for step, took in ((11, 100.0), (12, 2.0), (13, 2.0)):
            now += took
            log.count(step, 8)
            log.train(step, VALUES, record=True)
            if step == 12:
                now += 30
                log.pause(30)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" images/s")[0] for line in lines] == [
        "step 11/20, 15:00 left, 0.1",  # 9 steps of 100 s as far as one can tell
        "step 12/20, 0:16 left, 4.0",
        "step 13/20, 0:14 left, 4.0",
    ]
