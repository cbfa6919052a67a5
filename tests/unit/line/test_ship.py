"""`maskline ship`: from weights to a repository in one command, and nothing half-done where a step fails."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from maskline.__main__ import main
from maskline_client import LocalDetector
from maskline_serve.repository.on_disk import Repository
from support.export.kept_traces import kept_traces
from support.models import foreign
from support.processes.in_process import call

NETWORK = "detectron2/mask_fpn_bgr"
FOLDER = foreign.FOLDER / NETWORK
Said = pytest.CaptureFixture[str]


def ship(*words: object) -> int:
    with kept_traces():
        return call(main, "ship", *map(str, words))


def options() -> list[Path | str]:
    return [
        "--config",
        FOLDER / "config.yaml",
        "--classes",
        FOLDER / "classes.txt",
        "--images",
        foreign.FOLDER / "images",
    ]


def test_a_file_becomes_a_repository_that_answers_as_its_framework(tmp_path: Path, capsys: Said) -> None:
    source, repository, keep = FOLDER / "model_final.pth", tmp_path / "repository", tmp_path / "kept"
    assert ship(source, repository, *options(), "--keep", keep) == 0
    said = capsys.readouterr()
    begins = [
        line.partition(":")[0] for line in said.out.splitlines() if line.partition(":")[0] in ("export", "assemble")
    ]
    assert begins == ["export", "assemble"]
    assert "import: found: trained on BGR" in said.out
    assert "Every stage agrees on 3 images" in said.out
    assert said.out.splitlines()[-2:] == [
        f"Next: maskline-serve run {repository}",
        "Then, in another terminal: maskline-client detect IMAGE --out pictures",
    ]
    assert sorted(path.name for path in keep.iterdir()) == ["artifact", "checkpoint"]
    assert Repository.load(repository).changes() == {}
    with LocalDetector(repository) as detector:
        for golden in foreign.goldens(NETWORK).values():
            found = detector.detect(golden.path)
            foreign.found_in(golden, found.boxes, found.scores, found.labels)
    # A checkpoint of ours goes the same way, and says by itself what an import has to be told.
    assert ship(keep / "checkpoint", tmp_path / "again", "--images", foreign.FOLDER / "images") == 0
    assert Repository.load(tmp_path / "again").artifact == Repository.load(repository).artifact
    capsys.readouterr()
    assert ship(keep / "checkpoint", tmp_path / "other", "--classes", "a") == 1
    assert "got options of an import with a checkpoint" in capsys.readouterr().err


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A folder as the script for detectron2 leaves it."""
    shutil.copytree(foreign.FOLDER / "images", tmp_path / "golden" / "images")
    shutil.copy(FOLDER / "golden.json", tmp_path / "golden")
    return tmp_path / "golden"


def test_the_source_s_answers_beside_those_of_pytorch_and_onnx_runtime(
    golden: Path, tmp_path: Path, capsys: Said
) -> None:
    source, repository = FOLDER / "model_final.pth", tmp_path / "repository"
    assert ship(source, repository, *options(), "--check", golden) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"(PyTorch|ONNX Runtime) +found by both, score 0.5 on +([0-9.]+) %", printed) == [
        ("PyTorch", "100.0"),
        ("ONNX Runtime", "100.0"),
    ]
    boxes = re.findall(r"\n +boxes +\S+ +\S+ +(\S+) +px", printed)
    assert max(map(float, boxes)) <= foreign.BOX_PX
    equal = re.findall(r"masks that are equal +(\S+) %", printed)
    assert len(equal) == 2
    assert min(map(float, equal)) >= 90  # see test_goldens.py
    content = json.loads((golden / "golden.json").read_text("utf-8"))
    for entry in content["images"].values():
        entry["classes"] = [(label + 1) % 3 for label in entry["classes"]]
    (golden / "golden.json").write_text(json.dumps(content), encoding="utf-8")
    before = Repository.load(repository)
    assert ship(source, repository, *options(), "--check", golden) == 1
    assert "PyTorch: " in capsys.readouterr().err
    assert Repository.load(repository) == before
    assert ship(FOLDER, tmp_path / "other", "--check", golden) == 1
    assert not (tmp_path / "other").exists()


def test_a_step_that_fails_ends_it_and_leaves_all_as_it_was(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no image")
    words = [*options()[:4], "--images", tmp_path / "photos", "--keep", tmp_path / "kept"]
    assert ship(FOLDER / "model_final.pth", tmp_path / "repository", *words) == 1
    assert "a.png" in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_it_cannot_write_is_said_before_anything_is_read(tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    assert ship(tmp_path / "nowhere.pth", tmp_path / "thesis") == 1
    assert "was not assembled by maskline-serve" in capsys.readouterr().err
    assert ship(tmp_path / "nowhere.pth", tmp_path / "repository", "--keep", tmp_path / "thesis") == 1
    assert "thesis: exists already" in capsys.readouterr().err
    assert ship(tmp_path / "nowhere.pth", tmp_path / "repository", "--images", tmp_path / "photos") == 1
    assert "photos: got no such file or folder, expected images" in capsys.readouterr().err
    assert ship(tmp_path / "nowhere.pth", tmp_path / "repository") == 1
    assert "nowhere.pth: no such file" in capsys.readouterr().err
    assert not (tmp_path / "repository").exists()


def test_help_shows_an_example(capsys: Said) -> None:
    assert call(main, "ship", "--help") == 0
    assert "maskline ship model_final.pth repository --config config.yaml" in " ".join(capsys.readouterr().out.split())
