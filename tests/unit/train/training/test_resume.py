"""Stopping a run and going on: by SIGKILL, by a signal, at a half-written checkpoint."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from maskline_train.checkpoint import load_model
from maskline_train.cli import main
from maskline_train.training.interruption import Signals
from maskline_train.training.metrics_log import read_metrics
from support.data.shapes_data import write_shapes
from support.processes.in_process import call

TESTS = Path(__file__).parents[3]
RECIPE = str(TESTS / "support" / "models" / "tiny_recipe.py")
LOSSES = ("loss", "rpn_objectness", "rpn_box", "classifier", "box", "mask", "grad_norm", "lr")


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Sums run in another order with another number of threads; the killed processes use one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("data") / "shapes", {"train": 10, "val": 4})


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert fit(data, out) == 0
    return out


def words(data: Path, out: Path) -> list[str]:
    return ["fit", RECIPE, "--data", str(data), "--out", str(out)]


def fit(data: Path, out: Path, *options: str) -> int:
    return call(main, *words(data, out), *options)


def start(data: Path, out: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "maskline_train.cli", *words(data, out), "--steps", "100000"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def losses(out: Path) -> list[tuple[float, ...]]:
    entries = [entry for entry in read_metrics(out / "metrics.jsonl") if entry["kind"] == "train"]
    assert [entry["step"] for entry in entries] == list(range(1, len(entries) + 1))
    return [tuple(float(entry[name]) for name in LOSSES) for entry in entries]


def wait_for_step(out: Path, step: int) -> None:
    """Wait until the metrics of a step are written."""
    deadline = time.monotonic() + 120
    path = out / "metrics.jsonl"
    while time.monotonic() < deadline:
        if path.exists() and any(int(entry["step"]) >= step for entry in read_metrics(path)):
            return
        time.sleep(0.002)
    raise AssertionError(f"step {step} never came")


def last_step(out: Path) -> int:
    return int((out / "last").resolve().name.removeprefix("step-"))


def test_a_killed_run_goes_on_with_the_losses_of_one_that_was_never_stopped(
    data: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(data, out)
    wait_for_step(out, 5)
    process.kill()
    process.communicate()
    assert last_step(out) in (4, 8)  # 8 where this process was slow to see step 5
    load_model(out / "last")
    assert fit(data, out, "--resume") == 0
    assert "resumed from step" in (out / "train.log").read_text()
    assert losses(out) == losses(uninterrupted)  # bit for bit: JSON holds every digit of a double
    ours, theirs = load_model(out / "last").state_dict(), load_model(uninterrupted / "last").state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def fit_until(number: signal.Signals, step: int, data: Path, out: Path, *options: str) -> int:
    """Train in this process, which gets a signal as from outside once the step is done; returns the exit status."""

    def interrupt() -> None:
        wait_for_step(out, step)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        return fit(data, out, *options)
    finally:
        thread.join()


def test_sigterm_from_outside_writes_a_checkpoint_and_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert fit_until(signal.SIGTERM, 1, data, out, "--steps", "100000") == 143
    errors = capsys.readouterr().err
    assert f"interrupted by SIGTERM after step {last_step(out)}; {out / 'last'} holds it" in errors
    assert "--steps 100000 --resume" in errors


def test_ctrl_c_ends_the_step_and_resuming_loses_nothing(
    data: Path, uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert fit_until(signal.SIGINT, 2, data, out) == 130
    step = last_step(out)
    assert 2 <= step < 12
    assert len(losses(out)) == step
    assert f"interrupted by SIGINT after step {step}" in capsys.readouterr().err
    assert fit(data, out, "--resume") == 0
    assert losses(out) == losses(uninterrupted)


def test_a_checkpoint_cut_off_in_the_middle_leaves_the_one_before(data: Path, tmp_path: Path) -> None:
    """What a SIGKILL during the writing of step 8 leaves behind: a folder under a temporary name."""
    out = tmp_path / "run"
    assert fit(data, out, "--steps", "4") == 0
    half = out / "checkpoints" / ".step-00000008.tmp"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"\0" * 100)
    assert load_model(out / "last").spec.num_classes == 3
    assert fit(data, out, "--resume", "--steps", "8") == 0
    assert last_step(out) == 8
    assert {path.resolve().name for path in (out / "checkpoints").iterdir()} == {
        (out / link).resolve().name for link in ("last", "best")
    }


def test_a_run_is_not_overwritten_and_a_finished_one_says_so(
    data: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(data, uninterrupted) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"maskline-train: {uninterrupted}: holds a run already; add --resume to go on with it, or choose another --out"
    ]
    assert fit(data, uninterrupted, "--resume") == 0
    assert "this run is finished" in capsys.readouterr().err


def test_another_recipe_is_refused_on_resume(
    data: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(data, uninterrupted, "--resume", "--total-batch", "4", "--steps", "12") == 1
    error = capsys.readouterr().err
    assert "training.decay = {'milestones': [6], 'factor': 0.1}, the recipe now says {'milestones': [3]" in error


def test_a_run_of_a_release_that_did_not_know_a_setting_goes_on(
    data: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = uninterrupted / "recipe.json"
    written = file.read_text()
    content = json.loads(written)
    assert content["training"].pop("keep_empty") is False
    file.write_text(json.dumps(content))
    assert fit(data, uninterrupted, "--resume") == 0
    assert "this run is finished" in capsys.readouterr().err
    assert file.read_text() == written  # it says so now


def test_a_second_signal_is_an_echo_at_first_and_acts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # torchrun passes on what the terminal sent as well
        assert signals.received == signal.SIGINT
        now = 103.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
