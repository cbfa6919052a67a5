"""`run` watches its server: a dead one is started again on its ports, or ends `run` with the reason."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serve.test_server import START_S, assert_gone, wait_until
from support.serving.watched import Watched, own_line

pytestmark = pytest.mark.triton


@pytest.fixture
def watched(repository: Path) -> Iterator[Watched]:
    run = Watched(repository, ["--restart"])
    yield run
    run.end()


def test_what_died_is_started_again_on_the_same_ports(watched: Watched) -> None:
    """First a process that no canary image needs, then the server itself."""
    assert watched.get("/health")[0] == 200
    os.kill(watched.stub("postprocess_raw"), signal.SIGKILL)
    wait_until(lambda: watched.health()["restarts"] == 1, START_S, "noticing a dead process")
    wait_until(lambda: watched.get("/health")[0] == 200, START_S, "the first restart")
    assert watched.answers()
    assert_gone(watched.work_folder)
    os.kill(watched.server, signal.SIGKILL)
    wait_until(lambda: watched.health()["restarts"] == 2, START_S, "noticing a dead server")
    wait_until(lambda: watched.get("/health")[0] == 200, START_S, "the second restart")
    assert watched.answers()
    assert "maskline_restarts_total 2" in watched.get("/metrics")[1]
    assert watched.stop() == 0
    restarts = [line for line in watched.err if "; restart" in line]
    assert "model postprocess_raw" in restarts[0]
    assert "restart 1 of at most 5 in 10 minutes, in 1 s" in restarts[0]
    assert "tritonserver ended with status 137" in restarts[1]
    assert "restart 2 of at most 5 in 10 minutes, in 2 s" in restarts[1]


def test_a_killed_supervisor_leaves_nothing_behind(watched: Watched) -> None:
    os.kill(watched.supervisor, signal.SIGKILL)
    wait_until(lambda: watched.health()["restarts"] == 1, START_S, "noticing a dead supervisor")
    wait_until(lambda: watched.get("/health")[0] == 200, START_S, "the restart")
    assert watched.answers()
    assert_gone(watched.work_folder)


def test_without_restart_a_hung_model_ends_run_with_the_reason(repository: Path) -> None:
    run = Watched(repository)
    try:
        os.kill(run.stub("preprocess"), signal.SIGSTOP)
        start = time.monotonic()
        assert run.process.wait(2 * START_S) == 1
        assert time.monotonic() - start < START_S
        run._reader.join(START_S)
        line = own_line(run.err)
        assert "canary image: " in line
        assert "(2 in a row); `run --restart` would start it again" in line
        assert_gone(run.work_folder)
    finally:
        run.end()
