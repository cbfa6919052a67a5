"""What `run` counts and says of its server, without one: pauses between restarts, lost processes, metrics."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from collections import Counter

import pytest
from maskline_serve.errors import PortTakenError
from maskline_serve.server.watch.canaries import Canaries
from maskline_serve.server.watch.endpoint import answering
from maskline_serve.server.watch.log_pump import MOST_LINES, pumping
from maskline_serve.server.watch.restarts import MOST, WINDOW_SECONDS, Restarts
from maskline_serve.server.watch.status import Status
from maskline_serve.server.watch.stubs import Stubs
from tritonclient import grpc as triton


def test_pauses_grow_and_restarts_end() -> None:
    restarts = Restarts()
    assert [restarts.next_pause(0.0) for _ in range(MOST)] == [1, 2, 4, 8, 16]
    assert restarts.next_pause(WINDOW_SECONDS - 1) is None
    assert restarts.count == MOST


def test_restarts_of_long_ago_do_not_count() -> None:
    restarts = Restarts()
    for _ in range(MOST):
        restarts.next_pause(0.0)
    assert restarts.next_pause(WINDOW_SECONDS + 1) == 1
    assert restarts.count == 1


class Models:
    """Processes of models, and which models are ready, as a test sets them."""

    def __init__(self) -> None:
        self.processes = Counter(preprocess=2, postprocess=1)
        self.unloaded: set[str] = set()

    def watched(self) -> Stubs:
        return Stubs(self.processes, lambda: Counter(self.processes), lambda model: model not in self.unloaded)


def test_a_model_that_lost_a_process_is_named_at_the_second_look() -> None:
    models = Models()
    stubs = models.watched()
    assert stubs.lost() is None
    models.processes["preprocess"] = 1
    assert [stubs.lost(), stubs.lost()] == [None, "preprocess"]


def test_a_process_that_was_started_again_is_not_lost() -> None:
    models = Models()
    stubs = models.watched()
    models.processes["postprocess"] = 0
    assert stubs.lost() is None
    models.processes["postprocess"] = 1
    assert [stubs.lost(), stubs.lost()] == [None, None]


def test_a_model_that_is_unloaded_is_not_lost_and_a_new_one_is_watched() -> None:
    models = Models()
    stubs = models.watched()
    models.unloaded.add("postprocess")
    models.processes = Counter(preprocess=2, other=1)
    assert [stubs.lost(), stubs.lost()] == [None, None]
    models.processes["other"] = 0
    assert [stubs.lost(), stubs.lost()] == [None, "other"]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_health_follows_the_state() -> None:
    status = Status()
    with answering("127.0.0.1", 0, status) as url:

        def health() -> tuple[int, str]:
            code, text = get(f"http://{url}/health")
            return code, json.loads(text)["status"]

        assert health() == (503, "starting")
        status.right(0.25)
        assert health() == (200, "serving")
        status.wrong("got 47")
        assert health() == (503, "failing")
        status.restarts("it ended")
        assert health() == (503, "restarting")
        status.right(0.25)
        status.stops()
        assert health() == (503, "stopping")
        assert get(f"http://{url}/else") == (404, "got /else, expected /health or /metrics\n")


class Silent:
    """A client of a server that has nothing to tell."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def get_inference_statistics(self, client_timeout: float) -> None:
        raise triton.InferenceServerException("none")


class Well:
    """A server whose canary image comes back right."""

    client = Silent

    def check(self, client: Silent, timeout_s: float) -> None:
        """Right."""

    def served(self) -> tuple[()]:
        return ()


class Slow(Status):
    """Takes its time over a right canary image."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.goes_on = threading.Event(), threading.Event()

    def right(self, seconds: float) -> None:
        self.came.set()
        self.goes_on.wait(0.5)
        super().right(seconds)


def test_a_canary_image_of_before_does_not_call_a_server_well_that_is_being_started_again() -> None:
    status = Slow()
    canaries = Canaries(Well(), status, 0.01, 1.0)
    canaries.start()
    assert status.came.wait(30)
    canaries.stop()
    status.restarts("it ended")
    status.goes_on.set()
    canaries.join(30)
    assert status.describe()["status"] == "restarting"


def test_metrics_are_prometheus_text() -> None:
    status = Status()
    status.serves([{"artifact_sha256": "ab", "name": 'a"b\\'}])
    status.right(0.25)
    status.wrong("got 47")
    status.restarts("it ended")
    with answering("127.0.0.1", 0, status) as url:
        code, text = get(f"http://{url}/metrics")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert code == 200
    assert lines == [
        "maskline_up 0",
        "maskline_restarts_total 1",
        "maskline_canary_failures_total 1",
        "maskline_canary_seconds 0.25",
        r'maskline_info{artifact_sha256="ab",name="a\"b\\"} 1',
    ]


def test_a_health_port_in_use_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with (
            pytest.raises(PortTakenError, match=rf"health port {port} on 127\.0\.0\.1: address already in use"),
            answering("127.0.0.1", port, Status()),
        ):
            pass


def test_nobody_is_answered_where_no_port_was_asked_for() -> None:
    with answering("127.0.0.1", None, Status()) as url:
        assert url is None


def test_a_log_without_a_reader_holds_up_nobody_and_says_what_it_left_out() -> None:
    shown: list[str] = []
    taken, reads = threading.Event(), threading.Event()

    def show(line: str) -> None:
        taken.set()
        reads.wait(60)
        shown.append(line)

    with pumping(show) as say:
        say("0")
        assert taken.wait(60)
        for number in range(1, 2 * MOST_LINES):  # more than there is room for, while the first is being shown
            say(str(number))
        reads.set()
    kept = [int(line) for line in shown if line.isdigit()]
    (left_out,) = (line for line in shown if not line.isdigit())
    assert kept == list(range(MOST_LINES + 1))
    assert left_out.startswith(f"{2 * MOST_LINES - len(kept)} lines of the log are left out")


def test_a_log_whose_reader_went_away_is_no_failure() -> None:
    def show(line: str) -> None:
        raise BrokenPipeError

    with pumping(show) as say:
        say("one")
        say("two")
