"""`maskline-export` as a user meets it when something is wrong; parity tests run it where all is well."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_export.cli import main
from maskline_export.errors import ContractError, ExportError
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_train.checkpoint import save_model
from support.models.tiny import tiny_model, tiny_spec
from support.processes.in_process import call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_model(tmp_path / "checkpoint", tiny_model())
    return tmp_path / "checkpoint"


def test_help_shows_an_example() -> None:
    command = [sys.executable, "-m", "maskline_export.cli", "onnx", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0
    assert "Example: maskline-export onnx runs/digits/best artifacts/digits" in done.stdout


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(main, "onnx", str(tmp_path / "nothing"), str(tmp_path / "out")) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert (
        said.err.strip()
        .splitlines()[-1]
        .startswith(f"maskline-export: {tmp_path / 'nothing'}: no model.json; expected")
    )
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_flag_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(main, "onnx", str(tmp_path), str(tmp_path / "out"), "--bodies", "sparse") == 2
    assert "sparse" in capsys.readouterr().err


def test_damaged_weights_are_refused(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ContractError, match=r"model\.safetensors"):
        export_checkpoint(checkpoint, checkpoint.parent / "out")
    assert not (checkpoint.parent / "out").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_artifact_is_never_overwritten(checkpoint: Path, kind: str) -> None:
    out = checkpoint.parent / "out"
    if kind == "folder":
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
    else:
        out.write_text("years of work")
    with pytest.raises(ExportError, match="exists and is not an artifact folder"):
        export_checkpoint(checkpoint, out)
    assert (out / "thesis.txt" if kind == "folder" else out).read_text() == "years of work"


def test_a_failed_export_leaves_the_old_artifact_and_nothing_else(tmp_path: Path) -> None:
    """The maximum of adaptive samples has no body: the export stops after its folder was made."""
    spec = tiny_spec()
    spec = dataclasses.replace(spec, roi_align=dataclasses.replace(spec.roi_align, sampling_ratio=0, mode="align_max"))
    save_model(tmp_path / "checkpoint", tiny_model(spec))
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("the old one")
    with pytest.raises(ContractError, match="align_max with sampling_ratio 0"):
        export_checkpoint(tmp_path / "checkpoint", out, "dense")
    assert (out / "manifest.json").read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]
