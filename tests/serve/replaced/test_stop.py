"""A server that stops in order, and one that starts where the environment names a proxy."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from maskline_client import Detector, ServerUnavailable
from maskline_serve.server.triton_server import TritonServer
from serve import standin

pytestmark = pytest.mark.triton


def test_a_server_that_stops_is_unavailable_and_no_other_one(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton says NOT_FOUND for some seconds while it unloads its models. The start goes past a proxy of nowhere."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with TritonServer(repository) as server, Detector(server.grpc_url, retries=0) as detector:
        assert len(detector.detect(standin.picture(1))) == 1
        url, said = server.grpc_url, set()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while stopping.is_alive():
            with Detector(url, retries=0) as newcomer:
                for one in (detector, newcomer):
                    try:
                        one.detect(standin.picture(1))
                    except ServerUnavailable as error:
                        said.add(str(error))
            time.sleep(0.02)
        stopping.join()
    assert any("has no available versions" in text for text in said), said  # else the stop was too quick to be seen
