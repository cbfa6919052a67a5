"""Clients and servers that die, queues that are full: a clear error in time, and the server serves on.

These tests hurt their server, so they have one of their own, with a short queue.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from maskline_serve.errors import ServerFailedError
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import Pending, send
from serve.test_server import STOP_S, assert_gone, processes_of, wait_until, work_folder
from support.served_models import model_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

QUEUE = 4
LARGE = standin.picture(1, (2000, 3000))  # tens of milliseconds in `preprocess` alone


@pytest.fixture(scope="module")
def victim(artifact, tmp_path_factory):
    """A server whose first queue holds four requests."""
    repository = tmp_path_factory.mktemp("faults") / "repository"
    assemble(artifact, repository)
    config = model_of(repository, "preprocess") / "config.pbtxt"
    text = config.read_text()
    assert "max_queue_size: 64" in text
    config.write_text(text.replace("max_queue_size: 64", f"max_queue_size: {QUEUE}"))
    with TritonServer(repository, drain_s=2) as running:
        yield running


@pytest.fixture
def caller(victim):
    with triton.InferenceServerClient(victim.grpc_url) as connected:
        yield connected


def outcome(request):
    """`ok`, or the error's status and text."""
    try:
        assert request.answer()["num_detections"].item() == 1
    except triton.InferenceServerException as error:
        return error.status(), error.message()
    return "ok"


def failures(server, model, reason):
    """What the metrics say of failed requests."""
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=STOP_S) as page:
        text = page.read().decode()
    found = re.search(rf'nv_inference_request_failure{{model="{model}",reason="{reason}",version="1"}} (\d+)', text)
    return int(found.group(1))


def test_metrics_count_a_failed_request_twice_at_the_ensemble(victim, caller):
    """What docs/operations.md says of release 24.10; another count would make it wrong."""
    before = failures(victim, "maskrcnn", "OTHER")
    with pytest.raises(triton.InferenceServerException, match="not a JPEG"):
        send(caller, [b"text"])
    wait_until(lambda: failures(victim, "maskrcnn", "OTHER") == before + 2, STOP_S, "counting the failure")
    assert failures(victim, victim.repository.model("preprocess").name, "BACKEND") == 0


def test_a_full_queue_is_said_at_once(caller):
    start = time.monotonic()
    pending = [Pending(caller, [LARGE]) for _ in range(40)]
    outcomes = [outcome(request) for request in pending]
    refused = [found for found in outcomes if found != "ok"]
    assert refused, "the queue never was full: send more"
    assert len(refused) <= 40 - QUEUE
    assert all(status == "StatusCode.UNAVAILABLE" and "maximum queue size" in text for status, text in refused)
    assert time.monotonic() - start < 50  # all are answered, none by its deadline of 60 s
    assert send(caller, [standin.picture(5)])["num_detections"].item() == 5


def test_a_deadline_is_kept(caller):
    # One less than the queue holds: the impatient one must never be refused for a full queue instead.
    busy = [Pending(caller, [LARGE]) for _ in range(QUEUE - 1)]
    start = time.monotonic()
    impatient = Pending(caller, [LARGE], timeout_s=0.02)
    status, _ = outcome(impatient)
    assert status == "StatusCode.DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 20
    assert [outcome(request) for request in busy] == ["ok"] * (QUEUE - 1)


CLIENT = """
import sys
sys.path.insert(0, sys.argv[2])
from serve import standin
from serve.conftest import Pending
from tritonclient import grpc as triton
client = triton.InferenceServerClient(sys.argv[1])
pending = [Pending(client, [standin.picture(1, (2000, 3000))]) for _ in range(4)]
print("sent", flush=True)
pending[-1].answer()
"""


def test_a_killed_client_costs_nobody_else(victim, caller):
    tests = str(Path(__file__).parent.parent)
    doomed = subprocess.Popen([sys.executable, "-c", CLIENT, victim.grpc_url, tests], stdout=subprocess.PIPE)
    assert doomed.stdout.readline() == b"sent\n"
    doomed.kill()
    doomed.communicate()
    assert send(caller, [standin.picture(7)])["num_detections"].item() == 7
    victim.raise_if_ended()


def test_a_model_whose_process_died_stays_ready_and_only_an_image_shows_it(victim, caller):
    """What docs/operations.md says of release 24.10; a server that restarts the process would make it wrong."""
    step = victim.repository.model("postprocess_raw").resolve()
    (stub,) = processes_of(f"{step}/1/model.py")
    os.kill(stub, signal.SIGKILL)
    wait_until(lambda: not processes_of(f"{step}/1/model.py"), 30, "the death of the stub")
    assert caller.is_server_ready()
    assert caller.is_model_ready("maskrcnn_raw")
    with pytest.raises(triton.InferenceServerException) as caught:
        send(caller, [standin.picture(1)], "maskrcnn_raw")
    assert caught.value.status() == "StatusCode.INTERNAL"
    assert send(caller, [standin.picture(1)])["num_detections"].item() == 1  # the other ensemble does not need it


def test_a_killed_server_is_noticed(victim, caller):
    """Last in this file: nothing answers afterwards. SIGKILL gives the server no chance to clean up."""
    folder = work_folder(victim.pid)
    server_pid = int(Path(f"/proc/{victim.pid}/task/{victim.pid}/children").read_text().split()[0])
    pending = [Pending(caller, [LARGE]) for _ in range(QUEUE)]
    time.sleep(0.02)
    os.kill(server_pid, signal.SIGKILL)
    start = time.monotonic()
    outcomes = [outcome(request) for request in pending]
    assert time.monotonic() - start < 30  # half of the calls' own deadline
    lost = [found for found in outcomes if found != "ok"]
    assert lost
    assert all(status == "StatusCode.UNAVAILABLE" for status, _ in lost)
    with pytest.raises(triton.InferenceServerException):
        send(caller, [standin.picture(1)])
    assert_gone(folder)
    with pytest.raises(ServerFailedError, match="ended with status 137"):
        wait_until(victim.raise_if_ended, 30, "the end of the supervisor")
