"""`maskline-export` where a disk runs full, at each of its writers: one line with the file, nothing half-written."""

from __future__ import annotations

import contextlib
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from maskline_export.cli import main
from maskline_export.manifest import PARITY_FILE
from maskline_export.verify.engines_command import calibration_photos
from maskline_train.checkpoint import save_model
from PIL import Image
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces
from support.processes.in_process import call
from unit.export.engine.test_to_engine import RTX, needs_rtx, write_artifact

Said = pytest.CaptureFixture[str]


@contextlib.contextmanager
def no_file_beyond(num_bytes: int) -> Iterator[None]:
    """As on a disk with so much left: a longer file is cut, and its writer told so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def one_line(capsys: Said, *words: object, limit: int) -> str:
    """What a command says at last that fails for want of space."""
    with no_file_beyond(limit):
        assert call(main, *map(str, words)) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    line = said.err.strip().splitlines()[-1]
    assert line.startswith("maskline-export: /")
    return line


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint and its artifact."""
    folder = tmp_path_factory.mktemp("exported")
    save_model(folder / "checkpoint", decided_tiny_model())  # whose traces other tests keep
    with kept_traces():
        assert call(main, "onnx", str(folder / "checkpoint"), str(folder / "artifact")) == 0
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("limit", [0, 5000, 50_000], ids=["nothing fits", "labels fit", "small stages fit"])
@pytest.mark.parametrize("command", ["onnx", "typed"])
def test_an_artifact_is_whole_or_not_there(
    command: str, limit: int, exported: Path, tmp_path: Path, capsys: Said
) -> None:
    source = exported / ("checkpoint" if command == "onnx" else "artifact")
    with kept_traces():
        line = one_line(capsys, command, source, tmp_path / "out", limit=limit)
    assert str(tmp_path / "out") in line
    assert "file too large" in line
    assert not list(tmp_path.iterdir())


def test_the_artifact_that_was_there_stays(exported: Path, tmp_path: Path, capsys: Said) -> None:
    assert call(main, "typed", str(exported / "artifact"), str(tmp_path / "out")) == 0
    before = files(tmp_path)
    one_line(capsys, "typed", exported / "artifact", tmp_path / "out", "--precision", "bf16", limit=5000)
    assert files(tmp_path) == before


def test_a_full_folder_of_temporary_files_is_named_and_not_the_output(
    exported: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """int8 calibrates on files below $TMPDIR, which may be on another disk."""
    (tmp_path / "photos").mkdir()
    for i in range(8):
        Image.fromarray(np.full((60, 80, 3), 30 * i, np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    words = ("typed", exported / "artifact", tmp_path / "out", "--precision", "int8")
    line = one_line(capsys, *words, "--calibration", tmp_path / "photos", limit=5000)
    assert line.startswith(f"maskline-export: {tmp_path / 'scratch'}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "scratch"]
    assert not list((tmp_path / "scratch").iterdir())


def test_what_verify_found_is_written_whole_or_not(exported: Path, tmp_path: Path, capsys: Said) -> None:
    artifact = exported / "artifact"
    before = files(exported)
    Image.new("RGB", (80, 60)).save(tmp_path / "photo.png")
    words = ("verify", exported / "checkpoint", artifact, "--images", tmp_path / "photo.png")
    line = one_line(capsys, *words, limit=1000)
    assert line.startswith(f"maskline-export: {artifact / PARITY_FILE}: ")
    assert files(exported) == before


def test_photographs_for_a_calibration_are_not_cut_in_silence(exported: Path, tmp_path: Path) -> None:
    with no_file_beyond(5000), pytest.raises(OSError, match=rf"File too large: '{tmp_path / 'photos'}/\d+\.png'"):
        calibration_photos(tmp_path / "photos", exported / "artifact")
    assert not list((tmp_path / "photos").iterdir())


@needs_rtx
def test_engines_are_whole_or_not_there(tmp_path: Path, capsys: Said) -> None:
    artifact = write_artifact(tmp_path / "artifact")
    assert str(tmp_path / "out") in one_line(capsys, "engine", artifact, tmp_path / "out", *RTX, limit=1000)
    assert list(tmp_path.iterdir()) == [artifact]
