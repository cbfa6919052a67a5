"""`run` watches its server: a dead one is started again on its ports, or ends `run` with the reason."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve import standin
from serve.conftest import send
from serve.test_server import START_S, STOP_S, Run, assert_gone, end, processes_of, wait_until
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

QUICK = ("--canary-s", "0.5", "--canary-deadline-s", "20", "--drain-s", "2", "--health-port", "0")


class Watched(Run):
    """`run` with a health port."""

    def __init__(self, repository: Path, *arguments: str) -> None:
        super().__init__(repository, *QUICK, *arguments)
        text = self.wait_until_serving()
        self.repository = repository
        self.grpc = re.search(r"gRPC +(\S+)", text)[1]
        self.health_url = re.search(r"health +(\S+)/health", text)[1]

    def get(self, path: str) -> tuple[int, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.health_url}{path}", timeout=STOP_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self) -> dict:
        return json.loads(self.get("/health")[1])

    def server(self) -> int:
        (supervisor,) = (int(pid) for pid in self._children() if b"supervise.py" in cmdline(pid))
        return int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])

    def stub(self, word: str) -> int:
        """The process of the model whose name begins so."""
        models = self.repository / "models"
        (model,) = {path.parent.parent for path in models.glob(f"{word}/1/model.py")} | {
            path.parent.parent for path in models.glob(f"{word}-*/1/model.py")
        }
        (pid,) = processes_of(f"{model}/1/model.py")
        return pid

    def answers(self) -> bool:
        with triton.InferenceServerClient(self.grpc) as client:
            return send(client, [standin.picture(3)])["num_detections"].item() == 3


def cmdline(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture
def watched(repository: Path) -> Iterator[Watched]:
    run = Watched(repository, "--restart")
    yield run
    end(run)


def test_what_died_is_started_again_on_the_same_ports(watched: Watched) -> None:
    """First a process that no canary image needs, then the server itself."""
    assert watched.get("/health")[0] == 200
    folder = watched.work_folder
    os.kill(watched.stub("postprocess_raw"), signal.SIGKILL)
    wait_until(lambda: watched.health()["restarts"] == 1, START_S, "noticing a dead process")
    wait_until(lambda: watched.get("/health")[0] == 200, START_S, "the first restart")
    assert watched.answers()
    assert_gone(folder)
    os.kill(watched.server(), signal.SIGKILL)
    wait_until(lambda: watched.health()["restarts"] == 2, START_S, "noticing a dead server")
    wait_until(lambda: watched.get("/health")[0] == 200, START_S, "the second restart")
    assert watched.answers()
    assert "maskline_restarts_total 2" in watched.get("/metrics")[1]
    watched.process.send_signal(signal.SIGTERM)
    _, err = watched.process.communicate(timeout=STOP_S)
    assert watched.process.returncode == 0, err
    restarts = [line for line in err.splitlines() if "restart" in line]
    assert "model postprocess_raw" in restarts[0]
    assert "restart 1 of at most 5 in 10 minutes, in 1 s" in restarts[0]
    assert "tritonserver ended with status 137" in restarts[1]
    assert "restart 2 of at most 5 in 10 minutes, in 2 s" in restarts[1]


def test_a_killed_supervisor_leaves_nothing_behind(watched: Watched) -> None:
    folder = watched.work_folder
    os.kill(int(watched._children()[0]), signal.SIGKILL)
    wait_until(lambda: watched.health()["restarts"] == 1, START_S, "noticing a dead supervisor")
    wait_until(lambda: watched.get("/health")[0] == 200, START_S, "the restart")
    assert watched.answers()
    assert_gone(folder)


def test_without_restart_a_hung_model_ends_run_with_the_reason(repository: Path) -> None:
    run = Watched(repository)
    try:
        folder, stub = run.work_folder, run.stub("preprocess")
        os.kill(stub, signal.SIGSTOP)
        start = time.monotonic()
        _, err = run.process.communicate(timeout=2 * START_S)
        assert run.process.returncode == 1, err
        assert time.monotonic() - start < START_S
        (line,) = [line for line in err.splitlines() if line.startswith("maskline-serve:")]
        assert "canary image: " in line
        assert "(2 in a row); `run --restart` would start it again" in line
        assert_gone(folder)
    finally:
        end(run)
