"""Models that are replaced in a running server: no request lost, none answered by two versions, nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from maskline_serve.errors import ModelNotLoadedError, RepositoryError, ServeError, ServerFailedError
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.live.command import update_server
from maskline_serve.server.live.folder import LiveFolder
from maskline_serve.server.triton_server import Control, TritonServer
from serve import standin
from serve.conftest import DEADLINE_S, send
from serve.live.conftest import VERSIONS
from serve.live.versions import CLOSE, OBJECTS, artifact_of, best_score, load, repository_of, with_wrong_count
from serve.test_server import processes_of, wait_until
from support.served_models import model_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

FEW, MANY = 300, 5000


def update(repository: Path, server: TritonServer) -> str:
    """What the command does, in this process."""
    said: list[str] = []
    return update_server(Repository.load(repository), server.grpc_url, DEADLINE_S, DEADLINE_S, said.append)


def versions_in(server: TritonServer) -> set[str]:
    """The tags of the models that the server has, loaded or on the disk."""
    with triton.InferenceServerClient(server.grpc_url) as client:
        index = client.get_model_repository_index(headers=server.front_door.headers)
    assert server.live is not None
    loaded = {model.name for model in index.models if model.state != "UNAVAILABLE"}
    return {name.partition("-")[2] for name in loaded | {path.name for path in server.live.models.iterdir()}} - {""}


@pytest.mark.parametrize("wanted", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_three_updates_under_load_lose_and_mix_nothing(versions, wanted):
    with TritonServer(versions[0], control=Control.EXPLICIT, drain_s=30) as server:
        with load(server.grpc_url, len(versions)) as calls:
            for step, repository in enumerate((*versions[1:], None), 1):
                wait_until(lambda reached=step * wanted / 4: calls.total() >= reached, 300, "answers")
                if repository is not None:
                    update(repository, server)
        assert (calls.lost, calls.mixed) == ([], [])
        assert calls.total() >= wanted
        assert set(calls.answers) == {0, 1, 2, 3}  # each was asked, the last too
        assert versions_in(server) == {Repository.load(versions[-1]).revision}
        assert not processes_of(f"{server.live.models}/preprocess-{Repository.load(versions[0]).revision}/")


def test_the_command_says_what_it_did_and_does_nothing_twice(running, versions):
    command = [sys.executable, "-m", "maskline_serve.cli", "update", str(versions[1]), "--url", running.grpc_url]
    before, after = served(running)["maskrcnn"], Repository.load(versions[1]).revision
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert f"serves maskrcnn {after} in place of {before}: loaded and proven in " in first.stdout
    assert f"serves maskrcnn {after} already; nothing was done" in again.stdout


def test_a_version_that_does_not_load_leaves_everything_as_it_was(running, versions, tmp_path):
    shutil.copytree(versions[2], tmp_path / "broken")
    config = model_of(tmp_path / "broken", "preprocess") / "config.pbtxt"
    text = config.read_text()
    assert '"size_rule" value: { string_value: "round" }' in text
    config.write_text(
        text.replace('"size_rule" value: { string_value: "round" }', '"size_rule" value: { string_value: "up" }')
    )
    before = served(running)
    with load(running.grpc_url, len(versions)) as calls, pytest.raises(ModelNotLoadedError, match="size_rule"):
        update(tmp_path / "broken", running)
    assert (calls.lost, calls.mixed) == ([], [])
    unchanged(running, versions, before)


def test_a_version_whose_canary_comes_back_wrong_never_gets_a_request(running, versions, tmp_path):
    assemble(with_wrong_count(artifact_of(tmp_path, 2)), tmp_path / "wrong")
    before = served(running)
    with load(running.grpc_url, len(versions)) as calls, pytest.raises(ServerFailedError, match="canary image: "):
        update(tmp_path / "wrong", running)
    assert (calls.lost, calls.mixed) == ([], [])
    assert 2 not in calls.answers
    unchanged(running, versions, before)


def test_a_damaged_repository_never_reaches_the_server(running, versions, tmp_path):
    shutil.copytree(versions[2], tmp_path / "damaged")
    (model_of(tmp_path / "damaged", "mask") / "1" / "model.onnx").write_bytes(b"not onnx")
    before = served(running)
    with pytest.raises(RepositoryError, match=r"model.onnx is changed"):
        update(tmp_path / "damaged", running)
    unchanged(running, versions, before)


def test_another_backend_needs_another_server(running, versions, tmp_path):
    shutil.copytree(versions[2], tmp_path / "other")
    text = (tmp_path / "other" / "repository.json").read_text()
    (tmp_path / "other" / "repository.json").write_text(text.replace('"target": "cpu"', '"target": "onnxruntime-gpu"'))
    with pytest.raises(RepositoryError, match="another target or backend than the server runs"):
        update(tmp_path / "other", running)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.long)])
def test_an_update_that_is_stopped_leaves_nothing_that_the_next_one_minds(running, versions, number):
    before = served(running)
    command = [sys.executable, "-m", "maskline_serve.cli", "update", str(versions[3]), "--url", running.grpc_url]
    doomed = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert doomed.stderr.readline().startswith("loading maskrcnn")
    time.sleep(0.3)  # somewhere in the loading
    os.kill(doomed.pid, number)
    assert doomed.wait(DEADLINE_S) == (130 if number == signal.SIGINT else -signal.SIGKILL)
    doomed.stderr.close()
    assert served(running) == before
    if number == signal.SIGINT:
        unchanged(running, versions, before)
    update(versions[2], running)
    assert versions_in(running) == {Repository.load(versions[2]).revision}
    update(versions[1], running)


def test_two_updates_at_once_are_one_too_many(running, versions):
    with (
        LiveFolder(running.live.folder).changing(),
        pytest.raises(ServeError, match="being updated by another process"),
    ):
        update(versions[3], running)


def test_a_second_name_is_added_and_updated_apart_from_the_first(running, versions, tmp_path):
    before = served(running)
    with load(running.grpc_url, len(versions)) as calls:
        assert "nuclei" in update(repository_of(tmp_path, 2, "nuclei"), running)
        assert called(running, "nuclei") == 2
        update(repository_of(tmp_path, 3, "nuclei"), running)
        assert called(running, "nuclei") == 3
    assert (calls.lost, calls.mixed) == ([], [])
    assert {name: one for name, one in served(running).items() if name != "nuclei"} == before


@pytest.mark.parametrize("port", ["1", "no_port"])
def test_a_server_that_is_not_there_is_one_line(versions, port):
    with pytest.raises(ServeError, match="expected"):
        update_server(Repository.load(versions[0]), f"127.0.0.1:{port}", 1, 1, print)


def test_a_server_without_model_control_says_how_to_get_it(server, versions):
    with pytest.raises(ServeError, match="--control explicit"):
        update(versions[1], server)


def served(server: TritonServer) -> dict[str, str]:
    """Name -> revision of what a server has made public."""
    return {one.name: one.revision for one in server.served()}


def unchanged(server: TritonServer, versions: Sequence[Path], before: dict[str, str]) -> None:
    """The server is ready, answers as before, and has the models of before and no others."""
    assert served(server) == before
    assert versions_in(server) == set(before.values())
    with triton.InferenceServerClient(server.grpc_url) as client:
        assert client.is_server_ready()
    assert Repository.load(versions[called(server, "maskrcnn")]).revision == before["maskrcnn"]


def called(server: TritonServer, name: str) -> int:
    """The version that answers under a name, by its scores."""
    with triton.InferenceServerClient(server.grpc_url) as client:
        score = float(send(client, [standin.picture(OBJECTS)], name)["scores"][0, 0])
    return next(version for version in range(VERSIONS) if abs(best_score(version) - score) < CLOSE)
