"""Closed loop: a fixed number of callers, each sends its next image when the last answer has come."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tritonclient.utils import InferenceServerException

from maskline_client.bench.calls import Answer, Call, Caller, difference, error_text
from maskline_client.bench.images import BenchImage
from maskline_client.bench.results import Measured

MakeCaller = Callable[[], Caller]


def first_answers(make_caller: MakeCaller, images: tuple[BenchImage, ...]) -> list[Answer]:
    """The answer of each image, asked one at a time before anything is timed.

    Raises:
        InferenceServerException: an image was not answered; a benchmark of failing calls means nothing.
    """
    caller = make_caller()
    try:
        return [caller.call(image).answer for image in images]
    finally:
        caller.close()


def gate(
    make_caller: MakeCaller, images: tuple[BenchImage, ...], expected: list[Answer], concurrency: int
) -> list[str]:
    """Ask every image again, at a concurrency that makes batches, and compare with its first answer.

    Returns:
        One line for every image whose answer differs or fails; empty when all agree.
    """
    problems: list[str] = []

    def check(index: int) -> None:
        caller = make_caller()
        try:
            found = difference(expected[index], caller.call(images[index]).answer)
        except InferenceServerException as error:
            found = error_text(error)
        finally:
            caller.close()
        if found:
            problems.append(f"{images[index].name}: {found}")

    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(check, range(len(images))))
    return sorted(problems)


def run_closed_loop(
    make_caller: MakeCaller,
    images: tuple[BenchImage, ...],
    concurrency: int,
    *,
    requests: int | None,
    seconds: float | None,
) -> Measured:
    """Keep `concurrency` requests in flight until `requests` are answered or `seconds` have passed.

    Images are taken in turn by all callers together. With `seconds`, a request that started in time is
    waited for.

    Args:
        make_caller: opens one connection; each caller has its own.
        images: sent in turn.
        concurrency: number of callers.
        requests: how many to send in all, or None.
        seconds: how long to keep sending, or None. One of the two is given.
    """
    calls: list[Call] = []
    errors: Counter[str] = Counter()
    callers = [make_caller() for _ in range(concurrency)]
    start = time.perf_counter()
    turns = _turns(requests, None if seconds is None else start + seconds)
    lock = threading.Lock()

    def worker(caller: Caller) -> None:
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            try:
                call = caller.call(images[turn % len(images)])
            except InferenceServerException as error:
                with lock:
                    errors[error_text(error)] += 1
                continue
            with lock:
                calls.append(call)

    try:
        with ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(worker, callers))
        wall_s = time.perf_counter() - start
    finally:
        for caller in callers:
            caller.close()
    return Measured(
        latencies_ms=tuple(call.latency_ms for call in calls),
        wall_s=wall_s,
        errors=dict(errors),
        send_us=_mean([call.send_us for call in calls]),
        receive_us=_mean([call.receive_us for call in calls]),
        detections=tuple(call.answer.num_detections for call in calls),
    )


def _turns(requests: int | None, deadline: float | None) -> Iterator[int]:
    """0, 1, 2, ... until the number of requests or the deadline (of `time.perf_counter`) is reached."""
    for turn in itertools.count():
        if requests is not None and turn >= requests:
            return
        if deadline is not None and time.perf_counter() >= deadline:
            return
        yield turn


def _mean(values: list[float]) -> float:
    """Arithmetic mean, 0 of nothing."""
    return float(np.mean(values)) if values else 0.0
