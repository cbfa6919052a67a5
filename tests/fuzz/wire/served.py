"""The server that requests are sent to: the real one, with the stand-in's answers, started once for a run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from maskline_client import Detector
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from serve import standin

GRPC, HTTP = "MASKLINE_FUZZ_GRPC", "MASKLINE_FUZZ_HTTP"  # environment variables: where it listens
# What the server's processes may hold more than before, all together: threads of four services and a picture of 50
# megapixels that is being decoded (740 MiB, docs/operations.md) are less, what is lost with each request is more.
GROWTH_BYTES = 1 << 30


@contextlib.contextmanager
def served(place: Path) -> Iterator[dict[str, str]]:
    """A server in `place`; gives the environment of a process that calls it.

    Raises:
        AssertionError: afterwards it is gone, has grown beyond `GROWTH_BYTES`, or a good image is not answered right.
    """
    artifact = standin.write_artifact(place / "artifact", standin.VARIANTS["masks and keypoints"])
    assemble(artifact, place / "repository")
    with TritonServer(place / "repository", drain_s=5) as server:
        check_answer(server.grpc_url)
        before, processes = _held_bytes(server), _processes(server)
        yield {GRPC: server.grpc_url, HTTP: server.http_url}
        gone = [process.pid for process in processes if not process.is_running()]
        assert not gone, f"processes of the server ended: {gone}"
        check_answer(server.grpc_url)
        grown = _held_bytes(server) - before
        assert grown < GROWTH_BYTES, f"the server holds {grown >> 20} MiB more than before"


def address(variable: str) -> str:
    """Where the server of this run listens.

    Raises:
        RuntimeError: none was started; `fuzz.run` does.
    """
    if variable not in os.environ:
        raise RuntimeError(f"${variable} is not set; run this target by `python -m fuzz.run`, which starts a server")
    return os.environ[variable]


def check_answer(url: str, number: int = 7) -> None:
    """Raise AssertionError unless a good image is answered as the stand-in does."""
    size = (48, 72)
    with Detector(url) as detector:
        found = detector.detect(standin.picture(number, size))
    np.testing.assert_allclose(found.boxes, standin.expected_boxes(number, size), atol=1e-3)  # float32 of 72 px


def _processes(server: TritonServer) -> list[psutil.Process]:
    supervisor = psutil.Process(server.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def _held_bytes(server: TritonServer) -> int:
    return sum(process.memory_info().rss for process in _processes(server))
