"""A repository that went through git, or through storage that knows files alone, is whole and loads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import DEADLINE_S

pytestmark = pytest.mark.triton


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def copied_as_objects(folder: Path, to: Path) -> Path:
    """A copy by names and contents alone: object storage knows no folders, links, modes or times."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".git" not in path.parts:
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return to


def test_what_went_through_git_and_object_storage_is_served(repository: Path, tmp_path: Path) -> None:
    assert not [path for path in repository.rglob("*") if path.is_dir() and not any(path.iterdir())]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["cp", "-r", str(repository), str(origin)], check=True)
    git(origin, "init")
    git(origin, "add", "--all", "--force")
    git(origin, "commit", "--message", "repository")
    git(tmp_path, "clone", str(origin), str(clone))
    stored = copied_as_objects(clone, tmp_path / "stored")
    for folder in (clone, stored):
        assert not [name for name, change in Repository.load(folder).changes().items() if change != "added"]
    with TritonServer(stored) as server, Detector(server.grpc_url, deadline_s=DEADLINE_S) as detector:
        assert len(detector.detect(standin.picture(2))) == 2
