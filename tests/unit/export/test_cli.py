"""`maskline-export` as a user meets it when something is wrong; parity tests run it where all is well."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from maskline_export.errors import ContractError, ExportError
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_train.checkpoint import save_model
from support.models.tiny import tiny_model, tiny_spec


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "maskline_export.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_model(tmp_path / "checkpoint", tiny_model())
    return tmp_path / "checkpoint"


def test_help_shows_an_example() -> None:
    done = command("onnx", "--help")
    assert done.returncode == 0
    assert "Example: maskline-export onnx runs/digits/best artifacts/digits" in done.stdout


def test_a_missing_checkpoint_is_one_line(tmp_path: Path) -> None:
    done = command("onnx", tmp_path / "nothing", tmp_path / "out")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path / 'nothing'}: no model.json; expected")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_flag_is_refused(tmp_path: Path) -> None:
    done = command("onnx", tmp_path, tmp_path / "out", "--bodies", "sparse")
    assert done.returncode == 2
    assert "sparse" in done.stderr


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
    """Adaptive sampling has no dense body: the export stops after its folder was made."""
    spec = tiny_spec()
    spec = dataclasses.replace(spec, roi_align=dataclasses.replace(spec.roi_align, sampling_ratio=0))
    save_model(tmp_path / "checkpoint", tiny_model(spec))
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("the old one")
    with pytest.raises(ContractError, match="--bodies ort"):
        export_checkpoint(tmp_path / "checkpoint", out, "dense")
    assert (out / "manifest.json").read_text() == "the old one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "out"]
