"""A repository that is not what was assembled is refused, unless a person tuned a config."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_serve import intact
from maskline_serve.errors import RepositoryError
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.on_disk import Repository
from serve import standin


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    assemble(standin.write_artifact(tmp_path / "artifact"), tmp_path / "repository")
    return Repository.load(tmp_path / "repository")


def test_what_was_assembled_is_taken_without_a_word(repository: Repository) -> None:
    assert intact.check(repository) == []


def test_a_tuned_config_and_an_added_file_are_said(repository: Repository) -> None:
    config = next(repository.models.glob("preprocess*/config.pbtxt"))
    config.write_text(config.read_text() + "# tuned\n")
    (repository.folder / "notes.txt").write_text("mine")
    said = intact.check(repository)
    assert [line.rpartition(" is ")[2] for line in said] == ["changed", "added"]


@pytest.mark.parametrize("damage", ["changed", "missing"])
@pytest.mark.parametrize("pattern", ["models/backbone*/1/model.onnx", "models/preprocess*/1/model.py"])
def test_another_file_is_refused_by_name(repository: Repository, pattern: str, damage: str) -> None:
    path = next(repository.folder.glob(pattern))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    name = path.relative_to(repository.folder).as_posix()
    with pytest.raises(RepositoryError, match=rf"{name} is {damage}, expected it as assembled"):
        intact.check(repository)
