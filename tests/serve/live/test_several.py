"""Several repositories in one server: each answers by its own models, and what cannot stand together is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from maskline_serve.errors import RepositoryError
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.several import load_together, pool_bytes
from maskline_serve.server.triton_server import Control, TritonServer
from serve import standin
from serve.conftest import send
from serve.live.versions import OBJECTS, best_score, repository_of
from tritonclient import grpc as triton


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two versions under two names."""
    folder = tmp_path_factory.mktemp("several")
    return repository_of(folder, 0), repository_of(folder, 1, "nuclei")


@pytest.mark.triton
@pytest.mark.parametrize("control", [Control.NONE, pytest.param(Control.EXPLICIT, marks=pytest.mark.long)])
def test_each_answers_under_its_own_name(pair, control):
    with TritonServer(*pair, control=control) as server, triton.InferenceServerClient(server.grpc_url) as client:
        for version, name in enumerate(("maskrcnn", "nuclei")):
            for ensemble in (name, f"{name}_raw", f"{name}_boxes"):
                answer = send(client, [standin.picture(OBJECTS)], ensemble)
                assert answer["num_detections"].item() == OBJECTS
                assert answer["scores"][0, 0] == pytest.approx(best_score(version), abs=1e-6)  # float32 of the stage


def test_no_model_of_one_has_the_name_of_one_of_the_other(pair):
    names = [path.name for repository in pair for path in (repository / "models").iterdir()]
    assert len(names) == len({*names}) > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "maskrcnn"}, r"got the name maskrcnn, which .* has too; .*`--name`"),
        ({"revision": ""}, "models without a tag"),
        ({"target": "onnxruntime-gpu"}, "another target or backend"),
        ({"files": {"backends/onnxruntime/model.py": "0"}}, "another target or backend"),
    ],
)
def test_what_cannot_stand_together_is_refused(pair, tmp_path, change, said):
    shutil.copytree(pair[1], tmp_path / "other")
    path = tmp_path / "other" / "repository.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(RepositoryError, match=said):
        load_together([pair[0], tmp_path / "other"])


def test_memory_of_cards_is_added_up(pair, tmp_path):
    repositories = []
    for index, gpu in enumerate(({"cards": [0, 1], "pool_bytes": 100}, {"cards": [1], "pool_bytes": 50}, {})):
        shutil.copytree(pair[0], tmp_path / str(index))
        path = tmp_path / str(index) / "repository.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"gpu": gpu}))
        repositories.append(Repository.load(tmp_path / str(index)))
    assert pool_bytes(repositories) == {0: 100, 1: 150}


def test_a_repository_without_tags_is_not_for_explicit_control(pair, tmp_path):
    shutil.copytree(pair[0], tmp_path / "earlier")
    path = tmp_path / "earlier" / "repository.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": ""}))
    server = TritonServer(tmp_path / "earlier", control=Control.EXPLICIT)
    with pytest.raises(RepositoryError, match="steps without a tag"):
        server.__enter__()
