"""Fixtures with the real server: one for all tests that leave it in peace, and what a test needs to call it."""

from __future__ import annotations

import io
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.names import word_of
from maskline_serve.server.triton_server import TritonServer
from PIL import Image
from serve import standin
from tritonclient import grpc as triton

DEADLINE_S = 60.0  # for two loaded cores; an idle machine answers in milliseconds


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in artifact: answers that a test can foresee."""
    return standin.write_artifact(tmp_path_factory.mktemp("serve") / "artifact")


@pytest.fixture(scope="session")
def repository(artifact: Path) -> Path:
    """The stand-in, assembled; tests that change something assemble their own."""
    folder = artifact.parent / "repository"
    assemble(artifact, folder)
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    """A running server that tests share: they may send it anything, but must not stop it."""
    with TritonServer(repository, drain_s=5) as running:
        yield running


@pytest.fixture
def client(server: TritonServer) -> Iterator[triton.InferenceServerClient]:
    """A gRPC client of the shared server."""
    with triton.InferenceServerClient(server.grpc_url) as connected:
        yield connected


def image_input(files: Sequence[bytes]) -> triton.InferInput:
    """The wire input `image` BYTES [B,1]."""
    tensor = triton.InferInput("image", [len(files), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[file] for file in files], dtype=np.object_))
    return tensor


def send(client: triton.InferenceServerClient, files: Sequence[bytes], model: str = "maskrcnn") -> dict[str, Any]:
    """One request with a batch of image files; returns every output by name."""
    result = client.infer(model, [image_input(files)], client_timeout=DEADLINE_S)
    return arrays(result)


def arrays(result: triton.InferResult) -> dict[str, Any]:
    """Every output of an answer by name."""
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


def step_of(client: triton.InferenceServerClient, word: str, ensemble: str = "maskrcnn") -> str:
    """The name of the model that is a step of an ensemble, as the ensemble's configuration has it."""
    steps = client.get_model_config(ensemble).config.ensemble_scheduling.step
    (found,) = (step.model_name for step in steps if word_of(step.model_name) == word)
    return found


class Pending:
    """A request in flight on the client's own thread; `answer()` waits for it."""

    def __init__(
        self,
        client: triton.InferenceServerClient,
        files: Sequence[bytes],
        model: str = "maskrcnn",
        timeout_s: float = DEADLINE_S,
    ) -> None:
        self._got: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
        client.async_infer(
            model,
            [image_input(files)],
            callback=lambda result, error: self._got.put((result, error)),
            client_timeout=timeout_s,
        )

    def answer(self, wait_s: float = DEADLINE_S + 10) -> dict[str, Any]:
        """Every output by name; raises the request's InferenceServerException."""
        result, error = self._got.get(timeout=wait_s)
        if error is not None:
            raise error
        return arrays(result)


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    """The image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
