"""Watches a running server for `run`: what ends it, or has it started again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from tritonclient import grpc as triton

from maskline_serve.errors import ServeError, ServerFailedError
from maskline_serve.server.triton_server import TritonServer
from maskline_serve.server.watch import restarts
from maskline_serve.server.watch.canaries import QUESTION_SECONDS, Canaries, served
from maskline_serve.server.watch.status import Status
from maskline_serve.server.watch.stubs import Stubs, stubs

POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Watch:
    """How a server is watched.

    Attributes:
        every_s: seconds between two canary images; more where one takes long.
        deadline_s: seconds that one may take.
        restart: start the server again, in place of ending.
    """

    every_s: float
    deadline_s: float
    restart: bool


def keep(server: TritonServer, watch: Watch, status: Status, say: Callable[[str], None]) -> None:
    """Watch a server that serves, and start it again when it is dead; comes back never.

    Args:
        server: entered already.
        watch: how.
        status: is told of everything.
        say: takes a line for the log.

    Raises:
        ServeError: the server is dead and is not, or no more, to be started again.
    """
    try:
        _keep(server, watch, status, say)
    finally:
        status.stops()


def _keep(server: TritonServer, watch: Watch, status: Status, say: Callable[[str], None]) -> None:
    """`keep`, without its last word."""
    allowed = restarts.Restarts()
    reason = _until_dead(server, watch, status)
    while watch.restart:
        pause = allowed.next_pause(time.monotonic())
        if pause is None:
            minutes = restarts.WINDOW_SECONDS / 60
            raise ServerFailedError(f"restarted {restarts.MOST} times in {minutes:g} minutes, and again: {reason}")
        status.restarts(reason)
        say(f"{_now()} {reason}; restart {allowed.count} of at most {restarts.MOST} in 10 minutes, in {pause:g} s")
        try:
            server.stop(at_once=True)
            time.sleep(pause)
            start = time.monotonic()
            server.restart()
        except (ServeError, OSError) as error:  # the machine may have room or a port again at the next try
            reason = f"not started: {error}"
            continue
        say(f"{_now()} serving again, {time.monotonic() - start:.1f} s after the start")
        reason = _until_dead(server, watch, status)
    server.stop(at_once=True)
    raise ServerFailedError(f"{reason}; `run --restart` would start it again")


def _until_dead(server: TritonServer, watch: Watch, status: Status) -> str:
    """Watch one start of the server; returns why it counts as dead."""
    status.serves(served(server))
    status.right(server.canary_seconds)
    canaries = Canaries(server, status, watch.every_s, watch.deadline_s)
    with server.client() as client:
        models = Stubs(server.processes, lambda: stubs(server.server_pid), lambda model: _ready(client, model))
        canaries.start()
        try:
            while True:
                time.sleep(POLL_SECONDS)
                if reason := _ended(server) or canaries.dead:
                    return reason
                if model := models.lost():
                    return f"model {model}: a process of it is gone, and release 24.10 starts no other"
        finally:
            canaries.stop()


def _ended(server: TritonServer) -> str | None:
    """Why the server's process ended; None while it runs."""
    try:
        server.raise_if_ended()
    except ServeError as error:
        return str(error)
    return None


def _ready(client: triton.InferenceServerClient, model: str) -> bool:
    """Whether the server calls a model ready; one that does not say is judged by the canary image."""
    try:
        return bool(client.is_model_ready(model, client_timeout=QUESTION_SECONDS))
    except triton.InferenceServerException:
        return False


def _now() -> str:
    """The time of day with the date, for a log."""
    return time.strftime("%Y-%m-%d %H:%M:%S")
