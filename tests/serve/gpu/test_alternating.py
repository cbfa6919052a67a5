"""The benchmark of alternating shapes: on the CPU, where it times the very engines that are served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from maskline_bench.engines import alternating
from typer.testing import CliRunner


def run(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(alternating.main)
    return CliRunner().invoke(app, arguments)


def test_every_side_is_timed_in_every_order(dense_standin: Path, tmp_path: Path) -> None:
    done = run("--artifact", str(dense_standin), "--rounds", "2", "--json", str(tmp_path / "times.json"))
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "times.json").read_text(encoding="utf-8"))
    assert found["canvases"] == [[64, 96], [96, 64]]
    assert set(found["ms_of_each_call"]) == {"shared, HEURISTIC", "each, HEURISTIC"}
    for side in found["ms_of_each_call"].values():
        counted = {order: {size: len(ms) for size, ms in calls.items()} for order, calls in side.items()}
        assert counted == {
            "steady": {"1": 2, "2": 2, "4": 2, "8": 2},
            "sizes in turn": {"1": 4, "2": 4, "4": 4, "8": 4},
            "canvases in turn": {"1": 4, "2": 4, "4": 4, "8": 4},
        }


def test_an_artifact_that_no_gpu_takes_ends_in_one_line(artifact: Path) -> None:
    done = run("--artifact", str(artifact))
    assert done.exit_code == 1
    assert done.stderr.strip().startswith("bench-alternating: ")
    assert "got bodies 'ort', expected 'dense'" in done.stderr


def test_without_a_gpu_nothing_is_timed() -> None:
    if alternating.torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = run("--device", "cuda")
    assert (done.exit_code, done.stderr.strip()) == (
        1,
        "bench-alternating: got no GPU, expected one; nothing was timed",
    )
