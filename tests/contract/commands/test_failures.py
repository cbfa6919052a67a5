"""What goes wrong around a command, a full disk or a missing folder: one line with the file, for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serve import standin
from unit.client.triton_double import Script, serving

TESTS = Path(__file__).parents[2]
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from {module} import main
main()
"""
WITHOUT_LIMIT = 1 << 40


def run(module: str, words: list[object], limit: int = WITHOUT_LIMIT) -> list[str]:
    """The lines on stderr of a command that fails; no file may have more bytes than the limit, as on a full disk."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(limit=limit, module=module), *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("kind", ["full disk", "a file in the folder's place"])
def test_assemble(kind: str, tmp_path: Path) -> None:
    artifact = standin.write_artifact(tmp_path / "artifact")
    out = tmp_path / "repository" if kind == "full disk" else artifact / "labels.txt" / "repository"
    limit = 2000 if kind == "full disk" else WITHOUT_LIMIT
    (line,) = run("maskline_serve.cli", ["assemble", artifact, out], limit)
    assert line.startswith("maskline-serve: ")
    assert str(out if kind == "full disk" else out.parent) in line
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@pytest.mark.parametrize("command", ["detect", "predict"])
@pytest.mark.parametrize("kind", ["full disk", "a file in the folder's place"])
def test_client(command: str, kind: str, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" if kind == "full disk" else photo / "out"
    limit = 180 if kind == "full disk" else WITHOUT_LIMIT  # the header of predictions has fewer bytes, the lines more
    with serving(Script()) as server:
        lines = run("maskline_client.cli", [command, photo.parent, "--out", out, "--url", server.url], limit)
    (line,) = lines
    assert line.startswith("maskline-client: ")
    assert str(out if kind == "full disk" else photo) in line
    assert not list(tmp_path.rglob(".*"))


def test_data_made_on_a_full_disk(tmp_path: Path) -> None:
    out = tmp_path / "figures"
    (line,) = run("maskline_train.cli", ["data", "figures", out, "--train-images", 1, "--val-images", 1], 3000)
    assert line.startswith(f"maskline-train: {tmp_path}")
    assert not list(tmp_path.iterdir())
