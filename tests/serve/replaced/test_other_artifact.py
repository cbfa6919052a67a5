"""The real server with another artifact in the place of the first: no answer is read by the other model's names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import DEADLINE_S, image_input
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

OTHER = dataclasses.replace(standin.SPEC, classes=standin.SPEC.classes[::-1])


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that differs in the order of the class names alone."""
    folder = tmp_path_factory.mktemp("other")
    assemble(standin.write_artifact(folder / "artifact", OTHER), folder / "repository")
    return folder / "repository"


def test_the_names_are_those_of_the_server_that_answers_now(repository: Path, other: Path) -> None:
    with TritonServer(repository) as first:
        port = int(first.grpc_url.rpartition(":")[2])
        detector = Detector(first.grpc_url, deadline_s=DEADLINE_S)
        assert detector.detect(standin.picture(2)).names == standin.SPEC.classes[:2]
    with detector, TritonServer(other, grpc_port=port):
        assert detector.detect(standin.picture(2)).names == OTHER.classes[:2]


def test_a_request_for_another_artifact_is_refused_and_one_for_any_is_not(
    repository: Path, client: triton.InferenceServerClient
) -> None:
    image = [image_input([standin.picture(1)])]
    parameters = client.get_model_config("maskrcnn").config.parameters
    own = parameters["artifact_sha256"].string_value
    assert len(own) == 64
    for model in ("maskrcnn", "maskrcnn_raw", "maskrcnn_boxes"):
        for parameters in ({}, {"artifact_sha256": own}):
            client.infer(model, image, parameters=parameters, client_timeout=DEADLINE_S)
        with pytest.raises(triton.InferenceServerException, match=rf"artifact_sha256: got .*'other', expected '{own}'"):
            client.infer(model, image, parameters={"artifact_sha256": "other"}, client_timeout=DEADLINE_S)
