"""Several real servers behind one detector, one of which goes away under load: no call is lost, no answer is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from maskline_client import AsyncDetector, Detections, Detector
from maskline_serve.server.triton_server import TritonServer
from serve import standin

pytestmark = pytest.mark.triton

SIZE = (40, 60)  # multiples of 20, so that the stand-in's masks are whole pixels
COUNTS = (0, 1, 7, 33, 100)  # objects of the images, in turn
IN_FLIGHT = 8
DEADLINE_S = 120.0  # of two loaded cores


def kill(server: TritonServer) -> None:
    """End the server at once, as a crash does."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    os.kill(int(children.split()[0]), signal.SIGKILL)


def stop(server: TritonServer) -> None:
    """End it as an operator does: it refuses what comes, and finishes what it has begun."""
    server.stop()


def wrong(found: Detections, count: int) -> bool:
    """Whether an answer is not the one of a picture with so many objects."""
    boxes = standin.expected_boxes(count, SIZE)
    right = len(found) == count and found.image_size == SIZE and np.allclose(found.boxes, boxes, atol=1e-3)  # px
    return not right or any(found[i].area() != standin.expected_mask(SIZE, i).sum() for i in range(count))


def pictures(number: int, at: dict[int, Callable[[], None]]) -> Iterator[bytes]:
    """So many images; before some of them, by their number, something happens."""
    files = [standin.picture(count, SIZE) for count in COUNTS]
    for i, file in zip(range(number), itertools.cycle(files), strict=False):
        if i in at:
            at[i]()
        yield file


def lost_and_wrong(detector: Detector, number: int, at: dict[int, Callable[[], None]]) -> tuple[list[str], int]:
    """What calls failed with, and how many answers were wrong."""
    outcomes = detector.try_detect_many(pictures(number, at), IN_FLIGHT)
    lost, bad = [], 0
    for outcome, count in zip(outcomes, itertools.cycle(COUNTS), strict=False):
        if outcome.detections is None:
            lost.append(str(outcome.error))
        else:
            bad += wrong(outcome.detections, count)
    return lost, bad


def in_background(call: Callable[[], None]) -> Callable[[], None]:
    """The same, without waiting for its end: stopping a server takes seconds, in which calls go on."""
    return lambda: threading.Thread(target=call, daemon=True).start()


@pytest.mark.parametrize("end", [kill, pytest.param(stop, marks=pytest.mark.long)])
def test_a_server_that_goes_away_costs_no_answer(repository: Path, server: TritonServer, end) -> None:
    with TritonServer(repository, drain_s=5) as doomed:
        urls = f"{doomed.grpc_url},{server.grpc_url}"
        with Detector(urls, deadline_s=DEADLINE_S) as detector:
            lost, bad = lost_and_wrong(detector, 300, {100: in_background(lambda: end(doomed))})
    assert not lost
    assert not bad


def test_the_asyncio_client_hands_its_calls_on_too(repository: Path, server: TritonServer) -> None:
    with TritonServer(repository, drain_s=5) as doomed:

        async def call() -> list[Detections]:
            urls = f"{doomed.grpc_url},{server.grpc_url}"
            async with AsyncDetector(urls, deadline_s=DEADLINE_S) as detector:
                images = pictures(150, {50: lambda: kill(doomed)})
                return [found async for found in detector.detect_many(images, IN_FLIGHT)]

        answers = asyncio.run(call())
    assert len(answers) == 150
    assert not any(wrong(found, count) for found, count in zip(answers, itertools.cycle(COUNTS), strict=False))


@pytest.mark.long
def test_thousands_of_calls_while_servers_come_and_go(repository: Path, server: TritonServer) -> None:
    """5000 calls, 8 at a time; a second server is killed, comes back at its address, and is stopped."""
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(TritonServer(repository, drain_s=5))]
        url = running[0].grpc_url
        port = int(url.rpartition(":")[2])

        def come_back() -> None:
            running[0].stop()
            running.append(stack.enter_context(TritonServer(repository, drain_s=5, grpc_port=port)))

        events = {
            1000: in_background(lambda: kill(running[0])),
            2000: in_background(come_back),
            4000: in_background(lambda: stop(running[-1])),
        }
        with Detector(f"{url},{server.grpc_url}", deadline_s=DEADLINE_S) as detector:
            lost, bad = lost_and_wrong(detector, 5000, events)
    assert len(running) == 2
    assert not lost
    assert not bad
