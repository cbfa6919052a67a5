"""The GPU benchmark's cases pass their own checks with the kernels in the emulator, and say what is missing."""

from pathlib import Path

import device
import pytest
import torch
import typer
from maskline_bench.device_ops.__main__ import main
from maskline_bench.device_ops.as_sets import UNMATCHED_SHARE, unmatched_share
from maskline_bench.engines import __main__ as engines
from typer.testing import CliRunner, Result


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def _run(*arguments: str, build: Path = device.BUILD) -> Result:
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, ["--build", str(build), *arguments])


def test_every_case_agrees_with_its_peer_in_the_emulator() -> None:
    result = _run("--dry-run", "--batch", "2")
    assert result.exit_code == 0, result.stderr
    assert "all checks passed" in result.stdout
    assert all(name in result.stdout for name in ("G3", "G4", "G5", "G6", "G7", "G14"))


def test_without_a_gpu_nothing_is_timed() -> None:
    result = _run()
    assert result.exit_code == 1
    assert "got no GPU, expected one; nothing was timed" in result.stderr


def test_without_a_gpu_no_engine_is_timed() -> None:
    app = typer.Typer()
    app.command()(engines.main)
    result = CliRunner().invoke(app, ["--device", "cuda", "--quick"])
    assert result.exit_code == 1
    assert result.stderr.strip() == "bench-engines: got no GPU, expected one; nothing was timed"


def test_one_more_box_shifts_the_rows_and_is_no_difference() -> None:
    """As sets: a box kept at NMS's threshold by one side alone pushes every later row one further."""
    corners = 20.0 * torch.arange(200)
    theirs = torch.stack([corners, corners, corners + 15, corners + 15], dim=1)
    extra = torch.tensor([[0.0, 0.0, 15.0, 9.0]])  # IoU 0.6 with the first
    ours = torch.cat([theirs[:1], extra, theirs[1:] + 0.001])
    assert unmatched_share(ours, theirs) == pytest.approx(1 / 201)
    assert UNMATCHED_SHARE > 1 / 201
    assert unmatched_share(theirs, theirs + 1.0) == 1.0
    assert unmatched_share(theirs, theirs[:100]) == 0.5
    labels = torch.zeros(200, dtype=torch.long)
    assert unmatched_share(theirs, theirs, labels, labels) == 0.0
    assert unmatched_share(theirs, theirs, labels, labels + 1) == 1.0
    assert unmatched_share(theirs, theirs[:0]) == 1.0
    assert unmatched_share(theirs[:0], theirs[:0]) == 0.0


def test_a_library_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = _run("--dry-run", build=tmp_path)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"bench-device: {tmp_path / device.SIMT}: cannot be loaded")
