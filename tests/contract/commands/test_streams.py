"""What happens to a command's work when the reader of its output leaves, and when Ctrl-C meets it while it waits."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from pathlib import Path

import pytest
from maskline_train.training.metrics_log import read_metrics
from support.commands.command_lines import COMMANDS, CommandLine
from support.commands.conditions import closed_pipe, half_written, run
from support.commands.inputs import Inputs
from support.commands.matrix import Place, pipe_closes
from unit.client.triton_double import Script, serving

BY_NAME = {command.name: command for command in COMMANDS}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("maskline-client detect", "pictures/detections.json"),
        ("maskline-client evaluate", "ap.json"),
        pytest.param("maskline-client bench", "bench/results.json", marks=pytest.mark.long),
        pytest.param("maskline-train evaluate", "ap.json", marks=pytest.mark.long),
        pytest.param("maskline-export verify", "report.json", marks=pytest.mark.long),
    ],
)
def test_a_reader_that_leaves_costs_no_result(name: str, written: str, inputs: Inputs, tmp_path: Path) -> None:
    place = Place(BY_NAME[name], inputs, tmp_path)
    assert pipe_closes(place).status == 141
    assert (place.out / written).read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("maskline-client detect", Script(sleep_s=100)),
        pytest.param("maskline-client predict", Script(sleep_s=100), marks=pytest.mark.long),
        pytest.param("maskline-client evaluate", Script(sleep_s=100), marks=pytest.mark.long),
        pytest.param("maskline-client health", Script(metadata_sleep_s=100), marks=pytest.mark.long),
    ],
)
def test_ctrl_c_does_not_wait_for_the_answer_of_a_server(
    name: str, script: Script, inputs: Inputs, tmp_path: Path
) -> None:
    command = BY_NAME[name]
    reads, out = inputs.copied(command.reads, tmp_path / "in"), tmp_path / "out"
    with serving(script) as double:

        def interrupt(process: subprocess.Popen[str]) -> None:
            deadline = time.monotonic() + 60
            while not (script.calls or script.metadata_sleep_s) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(2.0 if script.metadata_sleep_s else 0.2)
            process.send_signal(signal.SIGINT)

        began = time.monotonic()
        answer = run(command, command.arguments(reads, out, double.url), while_it_runs=interrupt)
    assert (answer.status, answer.err) == (130, "maskline-client: stopped by SIGINT\n")
    assert time.monotonic() - began < 60  # the deadline of a call, which it would have waited for
    assert not half_written(tmp_path)


@pytest.mark.long
def test_tee_that_ends_by_the_ctrl_c_of_a_training_costs_no_checkpoint(inputs: Inputs, tmp_path: Path) -> None:
    fit = BY_NAME["maskline-train fit"]
    command = CommandLine(fit.name, fit.words.replace("--steps 2", "--steps 100000"), fit.reads)
    place, metrics = Place(command, inputs, tmp_path), tmp_path / "out" / "run" / "metrics.jsonl"

    def interrupt(process: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + 120
        while not (metrics.exists() and read_metrics(metrics)) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)

    with contextlib.contextmanager(closed_pipe)() as stdout:
        answer = place.run(stdout=stdout, while_it_runs=interrupt)
    assert answer.status == 130
    step = len(read_metrics(metrics))
    assert f"interrupted by SIGINT after step {step}; {place.out / 'run' / 'last'} holds it" in answer.err
    assert (place.out / "run" / "last").resolve().name == f"step-{step:08d}"
