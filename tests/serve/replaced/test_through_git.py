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


def test_a_clone_is_served(repository: Path, tmp_path: Path) -> None:
    assert not [path for path in repository.rglob("*") if path.is_dir() and not any(path.iterdir())]
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    subprocess.run(["cp", "-r", str(repository), str(origin)], check=True)
    git(origin, "init")
    git(origin, "add", "--all", "--force")
    git(origin, "commit", "--message", "repository")
    git(tmp_path, "clone", str(origin), str(clone))
    assert not [name for name, change in Repository.load(clone).changes().items() if change != "added"]
    with TritonServer(clone) as server, Detector(server.grpc_url, deadline_s=DEADLINE_S) as detector:
        assert len(detector.detect(standin.picture(2))) == 2
