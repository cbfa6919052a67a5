"""Models by name, and what each answer says of the model that gave it."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from maskline_client import AsyncDetector, ContractMismatch, Detector, ServerUnavailable
from maskline_client.calling.known_model import TRUST_S
from maskline_client.calling.served_names import not_served, served_names
from maskline_client.commands.health import check_server
from maskline_client.commands.predict import Shards
from maskline_client.connection import Connection
from maskline_client.contract import MASKRCNN
from maskline_client.served_model import ModelIdentity
from tritonclient.grpc import service_pb2
from unit.client.commands.test_cli import photo, run
from unit.client.commands.test_evaluate import write_data
from unit.client.triton_double import Script, Server, file_with, serving

SAID = {"precision": "int8-cpu", "maskline": "0.2.0", "revision": "1f0c6b3ad2e9"}
IDENTITY = ModelIdentity("maskrcnn", "a" * 64, *SAID.values())


def statistics(*names: str) -> service_pb2.ModelStatisticsResponse:
    """What a server with these models says."""
    response = service_pb2.ModelStatisticsResponse()
    for name in names:
        response.model_stats.add(name=name)
    return response


def test_a_model_is_asked_for_by_its_name(server: Server) -> None:
    server.script.models = ("nuclei", "street")
    with Detector(server.url, model="street") as detector:
        found = detector.detect(file_with(2))
    assert (len(found), found.model.name) == (2, "street")

    async def call() -> str:
        async with AsyncDetector(server.url, model="nuclei") as asked:
            return (await asked.detect(file_with(2))).model.name

    assert asyncio.run(call()) == "nuclei"


def test_a_name_that_is_not_served_is_told_those_that_are(server: Server) -> None:
    server.script.models = ("street", "nuclei")
    said = r"got no model maskrcnn, expected one of those that it serves: nuclei, street; name it with --model NAME"
    with Detector(server.url) as detector, pytest.raises(ContractMismatch, match=said):
        detector.detect(file_with(1))

    async def call() -> None:
        async with AsyncDetector(server.url) as asked:
            await asked.detect(file_with(1))

    with pytest.raises(ContractMismatch, match=said):
        asyncio.run(call())
    server.script.tells_statistics = False
    with Detector(server.url) as detector, pytest.raises(ContractMismatch, match="unknown model"):
        detector.detect(file_with(1))


@pytest.mark.parametrize("command", ["detect", "evaluate", "predict", "health"])
def test_every_command_takes_a_name(server: Server, tmp_path: Path, command: str) -> None:
    server.script.models, server.script.steps = ("nuclei",), ("preprocess-1f0c6b3ad2e9",)
    photo(tmp_path / "in" / "a.png")
    words = {
        "detect": [tmp_path / "in"],
        "evaluate": ["--data", write_data(tmp_path / "data")] if command == "evaluate" else [],
        "predict": [tmp_path / "in", "--out", tmp_path / "out"],
        "health": [],
    }[command]
    assert run(command, *words, "--url", server.url, "--model", "nuclei").returncode == 0
    refused = run(command, *words, "--url", server.url, "--model", "cells")
    assert refused.returncode == 4, refused.stderr
    assert "cells" in refused.stderr


def test_only_public_names_are_served() -> None:
    loaded = [f"{name}{kind}" for name in ("b", "a", "a-1f0c6b3ad2e9") for kind in ("", "_raw", "_engines")]
    assert served_names(statistics(*loaded, "backbone-1f0c6b3ad2e9", "resnet")) == ("a", "b")
    assert "it serves: none of ours" in str(not_served("host:1", "c", MASKRCNN, statistics("resnet")))


def test_a_model_that_is_not_loaded_is_unavailable(server: Server) -> None:
    server.script.away = "Request for unknown model: 'maskrcnn' has no available versions"  # Triton's own words
    with Detector(server.url, retries=0) as detector, pytest.raises(ServerUnavailable, match="no available versions"):
        detector.detect(file_with(1))


def test_an_answer_says_which_model_gave_it(server: Server) -> None:
    server.script.artifact, server.script.identity = IDENTITY.artifact, SAID
    with Detector(server.url) as detector:
        found = detector.detect(file_with(2))
        assert detector.model.identity == found.model == found.filter(min_score=0.85).model == IDENTITY
    assert str(IDENTITY) == "artifact aaaaaaaaaaaa, int8-cpu, maskline 0.2.0, revision 1f0c6b3ad2e9"


def test_a_repository_of_an_earlier_release_says_less(server: Server) -> None:
    with Detector(server.url) as detector:
        assert detector.detect(file_with(1)).model == ModelIdentity("maskrcnn")
    assert str(ModelIdentity("maskrcnn")) == "artifact unknown"


def test_health_says_which_models_a_server_has(server: Server) -> None:
    server.script.models, server.script.identity, server.script.artifact = ("nuclei", "street"), SAID, "a" * 64
    found = {check.name: check.detail for check in check_server(Connection(server.url, 30), deep=False)}
    for name in ("nuclei", "street"):
        assert found[f"contract {name}"].endswith(str(IDENTITY))
        assert f"model backbone of {name}" in found
    alone = {check.name for check in check_server(Connection(server.url, 30), deep=False, model="street")}
    assert "contract street" in alone
    assert "contract nuclei" not in alone


def test_health_asks_every_address() -> None:
    with serving(Script(steps=("backbone",))) as one, serving(Script(steps=("backbone",))) as other:
        both = run("health", "--url", f"{one.url},{other.url}")
        half = run("health", "--url", f"{one.url},127.0.0.1:1")
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("contract maskrcnn_raw") == 2
    assert half.returncode == 3
    assert half.stdout.count("contract maskrcnn_raw") == 1


def test_files_say_which_model_it_was(server: Server, tmp_path: Path) -> None:
    server.script.artifact, server.script.identity = IDENTITY.artifact, SAID
    photo(tmp_path / "in" / "a.png")
    said = {"name": "maskrcnn", "artifact": "a" * 64, **SAID}
    assert run("detect", tmp_path / "in", "--out", tmp_path / "out", "--url", server.url).returncode == 0
    assert json.loads((tmp_path / "out" / "detections.json").read_text())["info"] == {"model": said}
    assert run("predict", tmp_path / "in", "--out", tmp_path / "lines", "--url", server.url).returncode == 0
    assert json.loads((tmp_path / "lines" / "predictions.json").read_text())["model"] == said
    data, scores = write_data(tmp_path / "data"), tmp_path / "ap.json"
    assert run("evaluate", "--data", data, "--url", server.url, "--json", scores).returncode == 0
    assert json.loads(scores.read_text())["model"] == said


def test_predictions_of_two_revisions_are_not_mixed(server: Server, tmp_path: Path) -> None:
    server.script.artifact, server.script.identity = "a" * 64, SAID
    with Detector(server.url) as detector:
        Shards(tmp_path, detector.model)
    server.script.identity = {**SAID, "revision": "000000000000"}
    said = "got predictions with the model .*revision 1f0c6b3ad2e9, expected .*revision 000000000000"
    with Detector(server.url) as detector, pytest.raises(ValueError, match=said):
        Shards(tmp_path, detector.model)


def test_a_new_revision_of_the_same_artifact_is_noticed() -> None:
    """By every call that begins TRUST_S after the switch: a request names the artifact alone."""
    with serving(Script(artifact="a" * 64, identity=SAID)) as server, Detector(server.url) as detector:
        first = detector.model
        assert detector.detect(file_with(1)).model.revision == SAID["revision"]
        server.script.identity = {**SAID, "revision": "000000000000"}
        time.sleep(TRUST_S)
        assert detector.detect(file_with(1)).model.revision == "000000000000"
        (outcome,) = detector.try_detect_many([file_with(1)], of=first)
        assert isinstance(outcome.error, ContractMismatch)
        assert "revision 000000000000" in str(outcome.error)
