"""`maskline-train evaluate` while it runs: a bar on a terminal alone, and Ctrl-C."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from maskline_train.checkpoint import save_model
from maskline_train.cli import main
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from support.data.shapes_data import write_shapes
from support.models.tiny import tiny_model
from support.processes.in_process import call
from torch import Tensor


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    save_model(tmp_path / "checkpoint", tiny_model())
    data = write_shapes(tmp_path / "shapes", {"val": 4})
    return ["evaluate", str(tmp_path / "checkpoint"), "--data", str(data), "--batch", "1"]


def test_a_terminal_shows_how_far_it_is(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    assert call(main, *words) == 0
    said = capsys.readouterr()
    assert "evaluate val" in said.err
    assert "4/4" in said.err
    assert "4/4" not in said.out


def test_elsewhere_nothing_stands_beside_the_tables(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(main, *words) == 0
    assert capsys.readouterr().err == ""


def test_ctrl_c_is_answered_and_ends_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    detect = MaskRCNN.detect
    batches = 0

    def interrupting(model: MaskRCNN, canvas: Tensor, image_info: Tensor) -> Detections:
        nonlocal batches
        batches += 1
        if batches == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return detect(model, canvas, image_info)

    monkeypatch.setattr(MaskRCNN, "detect", interrupting)
    assert call(main, *words, "--json", str(tmp_path / "ap.json")) == 130
    assert batches == 2
    said = capfd.readouterr()
    assert said.out == ""
    first, last = said.err.strip().splitlines()
    assert first == "SIGINT: ending this step or evaluation; once more ends at once"
    assert last == "maskline-train: stopped after 2 of 4 images; nothing was written"
    assert not (tmp_path / "ap.json").exists()
