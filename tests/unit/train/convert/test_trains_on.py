"""An imported network trains on as what it is, exports in low precision, and still answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.to_typed import type_artifact
from maskline_train.checkpoint import load_model, save_model
from maskline_train.cli import main
from maskline_train.convert.file import import_file
from maskline_train.spec import ModelSpec
from support.data.shapes_data import write_shapes
from support.export.kept_traces import kept_traces
from support.models import foreign, tiny_recipe
from support.processes.in_process import call

NETWORK = "detectron2/mask_fpn_bgr"
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported") / "checkpoint"
    save_model(folder, import_file(foreign.checkpoint(NETWORK), foreign.options(NETWORK)).model)
    return folder


def test_its_network_and_conventions_stay_and_its_classes_are_the_data_s(
    imported: Path, tmp_path: Path, capsys: Said
) -> None:
    write_shapes(tmp_path / "shapes", {"train": 4, "val": 2})
    words = ["fit", tiny_recipe.__file__, "--data", str(tmp_path / "shapes"), "--steps", "2"]
    assert call(main, *words, "--out", str(tmp_path / "run"), "--init", str(imported), "--keep-network") == 0
    said = capsys.readouterr()
    assert (
        "stay random (first box_head.class_logits.weight)" in said.out + said.err
    )  # and what else has rows of classes
    assert "other conventions" not in said.out + said.err
    there, here = ModelSpec.load(imported / "model.json"), ModelSpec.load(tmp_path / "run" / "last" / "model.json")
    assert here.classes != there.classes
    assert dataclasses.replace(here, classes=there.classes) == there
    assert call(main, *words, "--out", str(tmp_path / "other"), "--keep-network") == 1
    assert "--init: got none, expected a checkpoint folder" in capsys.readouterr().err


def test_its_dense_export_becomes_fp16(imported: Path, tmp_path: Path) -> None:
    """Adaptive sampling and all; engines are built of this."""
    with kept_traces():
        export_checkpoint(imported, tmp_path / "dense", "dense")
    typed = type_artifact(tmp_path / "dense", tmp_path / "fp16", "fp16", None)
    assert typed.precision == "fp16"
    assert typed.spec == load_model(imported).spec
