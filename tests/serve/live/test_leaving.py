"""A server under explicit control that stops: not ready, then no new request, then none in flight; nothing is lost."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from maskline_serve.server.triton_server import Control, TritonServer
from serve import standin
from serve.conftest import DEADLINE_S, Pending, send
from serve.test_server import assert_gone, wait_until, work_folder
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

LARGE = standin.picture(1, (2000, 3000))  # tens of milliseconds in `preprocess` alone
IN_FLIGHT = 24
LEAVE_S = 2.0


def test_it_says_that_it_is_not_ready_and_answers_on_until_it_has_left(versions):
    with TritonServer(versions[0], control=Control.EXPLICIT, leave_s=LEAVE_S) as server:
        with triton.InferenceServerClient(server.grpc_url) as client:
            assert client.is_server_ready()
            stopping = threading.Thread(target=server.stop)
            start = time.monotonic()
            stopping.start()
            wait_until(lambda: not client.is_server_ready(), DEADLINE_S, "readiness to end")
            assert send(client, [standin.picture(2)])["num_detections"].item() == 2
        stopping.join()
        assert time.monotonic() - start >= LEAVE_S


def test_what_is_in_flight_is_answered_and_what_comes_later_is_refused(versions):
    """Without model control requests between two steps are lost (tests/serve/replaced/test_stop.py)."""
    with TritonServer(versions[0], control=Control.EXPLICIT) as server:
        folder, live = work_folder(server.pid), server.live.folder
        with triton.InferenceServerClient(server.grpc_url) as client:
            pending = [Pending(client, [LARGE]) for _ in range(IN_FLIGHT)]
            pending[0].answer()
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            assert [request.answer()["num_detections"].item() for request in pending[1:]] == [1] * (IN_FLIGHT - 1)
            refused = _refusal(client)
        stopping.join()
    assert refused == "StatusCode.NOT_FOUND" or refused == "StatusCode.UNAVAILABLE"
    assert_gone(folder)
    assert not Path(live).exists()


def _refusal(client: triton.InferenceServerClient) -> str:
    """The status of the first call that is not answered any more."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            send(client, [standin.picture(1)])
        except triton.InferenceServerException as error:
            return str(error.status())
    return "none"
