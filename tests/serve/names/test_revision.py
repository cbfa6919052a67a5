"""The revision of a repository: the same of the same input, another of any other; who shares a step with whom."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from maskline_serve.errors import RepositoryError
from maskline_serve.repository import config, names
from maskline_serve.repository.assemble import assemble, sources
from maskline_serve.repository.on_disk import Repository
from maskline_serve.repository.revision import revision_of
from maskline_train.spec import ModelSpec
from serve import standin
from support.served_models import model_of, name_of

OTHER_FILTER = dataclasses.replace(
    standin.SPEC, preprocessing=dataclasses.replace(standin.SPEC.preprocessing, resize_filter="torch")
)


def assembled(folder: Path, spec: ModelSpec = standin.SPEC, best_score: float = 0.99, name: str = "maskrcnn") -> Path:
    """A repository of a stand-in artifact of its own."""
    assemble(standin.write_artifact(folder / "artifact", spec, best_score), folder / "repository", name=name)
    return folder / "repository"


def steps(repository: Path) -> set[str]:
    """The names of the models that are no public ensembles."""
    description = Repository.load(repository)
    return {path.name for path in description.models.iterdir()} - {*names.ensembles(description.name)}


def test_the_same_input_gives_the_same_tag(repository: Path, tmp_path: Path) -> None:
    first, second = Repository.load(repository), Repository.load(assembled(tmp_path))
    assert len(first.revision) == 12
    assert int(first.revision, 16) >= 0
    assert first.files == second.files
    assert first.revision == second.revision
    assert len(steps(repository)) == 7
    assert all(name.endswith(f"-{first.revision}") for name in steps(repository))


@pytest.mark.parametrize(
    ("spec", "best_score", "name"),
    [
        (standin.SPEC, 0.98, "maskrcnn"),  # another network
        (OTHER_FILTER, 0.99, "maskrcnn"),  # other pixels for the same network
        (dataclasses.replace(standin.SPEC, classes=standin.SPEC.classes[::-1]), 0.99, "maskrcnn"),
        (standin.SPEC, 0.99, "nuclei"),  # the same model twice in one server
    ],
    ids=["network", "filter", "classes", "name"],
)
def test_other_input_shares_no_step(
    repository: Path, tmp_path: Path, spec: ModelSpec, best_score: float, name: str
) -> None:
    other = assembled(tmp_path, spec, best_score, name)
    assert not steps(repository) & steps(other)
    assert {names.word_of(step) for step in steps(repository)} == {names.word_of(step) for step in steps(other)}


def test_another_line_of_code_gives_another_tag(
    artifact: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, backends = (Path(shutil.copytree(path, tmp_path / path.name)) for path in sources())
    monkeypatch.setattr("maskline_serve.repository.assemble.sources", lambda: (models, backends))
    assemble(artifact, tmp_path / "same")
    assert steps(tmp_path / "same") == steps(repository)
    with (models / "preprocess" / "1" / "model.py").open("a", encoding="utf-8") as file:
        file.write("# another release\n")
    assemble(artifact, tmp_path / "other")
    assert not steps(tmp_path / "other") & steps(repository)


def network(repository: Path) -> Path:
    return model_of(repository, "mask") / "1" / "model.onnx"


def settings(repository: Path) -> Path:
    return model_of(repository, "preprocess") / "config.pbtxt"


def backend(repository: Path) -> Path:
    return repository / "backends" / "onnxruntime" / "model.py"


@pytest.mark.parametrize("file", [network, settings, backend], ids=lambda file: file.__name__)
def test_every_kind_of_file_counts(file: Callable[[Path], Path], repository: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(repository, tmp_path / "repository"))
    before = revision_of(own, "maskrcnn")
    assert before == revision_of(repository, "maskrcnn")
    with file(own).open("ab") as changed:
        changed.write(b"\n")
    assert revision_of(own, "maskrcnn") != before


def test_bytecode_does_not_count(repository: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(repository, tmp_path / "repository"))
    before = revision_of(own, "maskrcnn")
    cache = model_of(own, "preprocess") / "1" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "model.cpython-311.pyc").write_bytes(b"bytecode")
    assert revision_of(own, "maskrcnn") == before


@pytest.mark.parametrize("name", ["maskrcnn", "nuclei"])
@pytest.mark.parametrize("kind", standin.VARIANTS)
def test_every_ensemble_says_what_it_is_made_of(kind: str, name: str, tmp_path: Path) -> None:
    repository = assembled(tmp_path, standin.VARIANTS[kind], name=name)
    description = Repository.load(repository)
    assert (description.name, description.precision) == (name, "fp32")
    for ensemble in names.ensembles(name):
        path = repository / "models" / ensemble / "config.pbtxt"
        found = config.parse(path.read_text(encoding="utf-8"), path)
        assert found.name == ensemble
        told = {
            key: value.string_value for key, value in found.parameters.items() if key not in ("labels", "keypoints")
        }
        assert told == {
            "artifact_sha256": description.artifact["manifest_sha256"],
            "precision": "fp32",
            "maskline": importlib.metadata.version("maskline"),
            "revision": description.revision,
        }
        asked = [step.model_name for step in found.ensemble_scheduling.step]
        assert asked == [name_of(repository, names.word_of(step)) for step in asked]


def test_a_repository_is_renamed_in_place(artifact: Path, tmp_path: Path) -> None:
    assemble(artifact, tmp_path / "repository")
    assert assemble(artifact, tmp_path / "repository", name="nuclei") is True
    assert Repository.load(tmp_path / "repository").name == "nuclei"
    assert not (tmp_path / "repository" / "models" / "maskrcnn").exists()
    assert assemble(artifact, tmp_path / "repository", name="nuclei") is False


@pytest.mark.parametrize("name", ["", "../x", "a-b", "nuclei_raw"])
def test_a_name_that_is_none_writes_nothing(artifact: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(RepositoryError, match=f"--name: got the name '{name}', expected"):
        assemble(artifact, tmp_path / "repository", name=name)
    assert list(tmp_path.iterdir()) == []
