"""What an evaluation has found is written before what may fail behind it."""

import json
from pathlib import Path

import pytest
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from maskline_train.paper import overlaps
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model
from support.processes.in_process import call


def test_the_results_survive_a_failure_behind_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_args: object, **_kwargs: object) -> None:
        raise ValueError("no picture")

    data = write_shapes(tmp_path / "shapes", {"val": 1})
    save_model(tmp_path / "checkpoint", tiny_model())
    monkeypatch.setattr(overlaps, "draw_overlaps", fails)
    words = ("--data", str(data), "--json", str(tmp_path / "ap.json"), "--overlaps", str(tmp_path / "overlaps.png"))
    assert call(main, "evaluate", str(tmp_path / "checkpoint"), *words) == 1
    assert json.loads((tmp_path / "ap.json").read_text())["results"]
