"""Several addresses: which one a call goes to, and what becomes of a call whose address fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import pytest
from maskline_client import (
    AsyncDetector,
    ClientError,
    ContractMismatch,
    DeadlineExceeded,
    Detections,
    Detector,
    InvalidImage,
    QueueFull,
    ServerUnavailable,
)
from maskline_client.calling.addresses import FIRST_PAUSE_S, LONGEST_PAUSE_S, Addresses, Turns
from maskline_client.connection import Connection
from unit.client.triton_double import CLASSES, REFUSED, Script, Server, file_with, serving

NOBODY = "127.0.0.1:1"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of `addresses`, which a test sets."""
    now = [100.0]
    monkeypatch.setattr("maskline_client.calling.addresses.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@contextlib.contextmanager
def two(**second: object) -> Iterator[tuple[Server, Server]]:
    """Two servers of one model; the second with another script."""
    with serving(Script(artifact="a" * 64)) as first, serving(Script(**{"artifact": "a" * 64, **second})) as other:
        yield first, other


def detect(urls: str, image: bytes, **options: object) -> Detections:
    """By the asyncio client; the tests of the other one share its detector between calls."""

    async def call() -> Detections:
        async with AsyncDetector(urls, **options) as detector:
            return await detector.detect(image)

    return asyncio.run(call())


def test_calls_are_spread_by_what_is_under_way() -> None:
    three = Addresses(3)
    assert [three.take(()) for _ in range(5)] == [0, 1, 2, 0, 1]
    three.answered(1)
    three.answered(1)  # this one answers faster than the others
    assert [three.take(()) for _ in range(2)] == [1, 2]


def test_an_address_that_failed_is_left_alone_and_then_tried_by_one_call(clock: list[float]) -> None:
    both = Addresses(2)
    assert both.take(()) == 0
    both.failed(0)
    assert {both.take(()) for _ in range(4)} == {1}
    clock[0] += FIRST_PAUSE_S
    assert [both.take(()) for _ in range(3)] == [0, 1, 1]
    both.answered(0)
    assert both.take(()) == 0


def test_the_pause_grows_up_to_a_limit(clock: list[float]) -> None:
    both, pauses = Addresses(2), []
    for _ in range(8):
        while both.take(()) != 0:
            both.answered(1)
            clock[0] += 0.01
        began = clock[0]
        both.failed(0)
        while both.take(()) != 0:
            both.answered(1)
            clock[0] += 0.01
        both.left(0)
        pauses.append(clock[0] - began)
    growing = [min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**n) for n in range(8)]
    # A trial takes its own pause again, since it says nothing here; the clock goes by hundredths.
    assert pauses[0] == pytest.approx(growing[0], abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S, abs=0.02)


def test_calls_that_fail_together_are_one_failure(clock: list[float]) -> None:
    both = Addresses(2)
    under_way = [both.take(()) for _ in range(8)]
    for index in under_way:
        if index == 0:
            both.failed(0)
        else:
            both.answered(1)
    clock[0] += FIRST_PAUSE_S
    assert both.take(()) == 0


def test_where_all_rest_a_call_is_made_all_the_same(clock: list[float]) -> None:
    one = Addresses(1)
    for _ in range(3):
        assert one.take(()) == 0
        one.failed(0)


def test_a_call_asks_each_address_once_a_round(clock: list[float]) -> None:
    turns = Turns(Addresses(2), retries=2, end_s=200.0)
    asked, waits = [turns.begin()], []
    for _ in range(5):
        waits.append(turns.failed(ServerUnavailable(f"gone {asked[-1]}")))
        asked.append(turns.begin())
    with pytest.raises(ServerUnavailable, match=r"none of 2 addresses answered: gone 0; gone 1"):
        turns.failed(ServerUnavailable(f"gone {asked[-1]}"))
    assert [set(asked[i : i + 2]) for i in (0, 2, 4)] == [{0, 1}] * 3
    assert waits == [0.0, FIRST_PAUSE_S, 0.0, 2 * FIRST_PAUSE_S, 0.0]


@pytest.mark.parametrize(
    ("error", "retries", "asked"),
    [
        (ServerUnavailable("gone"), 0, 1),  # without retries a call is sent once
        (QueueFull("full"), 1, 4),
        (InvalidImage("torn"), 4, 1),
        (ContractMismatch("other"), 4, 1),
        (DeadlineExceeded("late"), 4, 1),
        (ClientError("broken"), 4, 1),  # an image that ends a process is not taken round
    ],
)
def test_only_what_another_server_may_do_better_is_handed_on(
    clock: list[float], error: ClientError, retries: int, asked: int
) -> None:
    turns = Turns(Addresses(2), retries, end_s=200.0)
    for _ in range(asked - 1):
        turns.begin()
        turns.failed(error)
    turns.begin()
    with pytest.raises(type(error)):
        turns.failed(error)


def test_both_of_two_servers_answer() -> None:
    with two() as (first, second), Detector(f"{first.url},{second.url}") as detector:
        answers = list(detector.detect_many([file_with(i % 5) for i in range(40)], in_flight=4))
    assert [len(found) for found in answers] == [i % 5 for i in range(40)]
    assert first.script.calls + second.script.calls == 40
    assert min(first.script.calls, second.script.calls) > 0


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Server is stopping, scheduler can not accept new inference requests"),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"),
        (grpc.StatusCode.CANCELLED, "CANCELLED"),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'maskrcnn' has no available versions"),
    ],
    ids=["stopping", "full", "cancelled", "unloaded"],
)
def test_what_one_server_cannot_do_another_one_does(code: grpc.StatusCode, details: str) -> None:
    with two(failures=1000, code=code, details=details) as (well, ill):
        with Detector(f"{ill.url},{well.url}") as detector:
            answers = list(detector.detect_many([file_with(3)] * 24, in_flight=4))
        assert [len(found) for found in answers] == [3] * 24
        assert well.script.calls == 24
        assert 1 <= ill.script.calls < 24  # tried, and left alone
        assert len(detect(f"{ill.url},{well.url}", file_with(2))) == 2


def test_an_address_where_nobody_is_costs_no_answer(server: Server) -> None:
    with Detector(f"{NOBODY},{server.url}") as detector:
        assert [len(found) for found in detector.detect_many([file_with(2)] * 8, in_flight=3)] == [2] * 8
    assert len(detect(f"{NOBODY},{server.url}", file_with(4))) == 4


def test_a_server_that_hangs_costs_one_call_its_patience_and_then_none(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskline_client.connection.CONTRACT_S", 2.0)
    with serving(Script(metadata_sleep_s=60.0)) as hung, Detector(f"{hung.url},{server.url}") as detector:
        start = time.monotonic()
        assert [len(found) for found in detector.detect_many([file_with(2)] * 20, in_flight=1)] == [2] * 20
        assert time.monotonic() - start < 30  # a call each would have cost 20 times the 60 s of the deadline
        assert hung.script.calls == 0


def test_calls_that_wait_for_a_server_that_hangs_wait_together(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other the eight that are sent there first would wait for sixteen times the patience of one."""
    monkeypatch.setattr("maskline_client.connection.CONTRACT_S", 2.0)
    with serving(Script(metadata_sleep_s=60.0)) as hung, Detector(f"{hung.url},{server.url}") as detector:
        assert [len(found) for found in detector.detect_many([file_with(2)] * 16, in_flight=16)] == [2] * 16
        assert hung.script.contracts <= 2  # 8 otherwise


def test_without_retries_a_call_is_sent_once() -> None:
    with two(failures=1000) as (well, ill), Detector(f"{ill.url},{well.url}", retries=0) as detector:
        outcomes = [next(iter(detector.try_detect_many([file_with(1)]))) for _ in range(4)]
    assert [type(outcome.error) for outcome in outcomes[:1]] == [ServerUnavailable]
    assert sum(outcome.error is not None for outcome in outcomes) == ill.script.calls


def test_where_nobody_answers_each_address_says_why() -> None:
    with (
        Detector(f"{NOBODY},127.0.0.1:2", retries=1) as detector,
        pytest.raises(ServerUnavailable, match=r"none of 2 addresses answered: .*:1: no server.*:2: no server"),
    ):
        detector.detect(file_with(1))


def test_an_image_that_is_refused_is_not_taken_round() -> None:
    with two() as (first, second), Detector(f"{first.url},{second.url}") as detector:
        with pytest.raises(InvalidImage):
            detector.detect(REFUSED)
        assert first.script.calls + second.script.calls == 1


def test_each_answer_has_the_names_of_the_server_that_gave_it() -> None:
    """Two models behind one detector: right as single answers, and refused where answers belong together."""
    other = CLASSES[::-1]
    with (
        two(artifact="b" * 64, labels=json.dumps(other), size=(21, 31)) as (first, second),
        Detector(f"{first.url},{second.url}") as detector,
    ):
        for found in detector.detect_many([file_with(2)] * 20, in_flight=4):
            ours = found.image_size != (21, 31)
            assert found.names == (CLASSES if ours else other)[:2]
            assert found.model.artifact == ("a" if ours else "b") * 64
        outcomes = list(detector.try_detect_many([file_with(2)] * 20, in_flight=4, of=detector.model))
    refused = [outcome.error for outcome in outcomes if outcome.error]
    assert all(isinstance(error, ContractMismatch) for error in refused)
    assert 0 < len(refused) < 20
    assert len({outcome.detections.model for outcome in outcomes if outcome.detections}) == 1


@pytest.mark.parametrize("url", ["", "a:1,", ",", "a:1,b", "a:1,a:1", "a:1;b:2", "a:1, b:2"])
def test_addresses_that_cannot_be_are_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="url: got"):
        Detector(url)


def test_what_needs_one_address_says_so() -> None:
    with pytest.raises(ValueError, match="got the addresses a:1,b:2, expected one"):
        Connection("a:1,b:2").client_arguments()
    assert [one.url for one in Connection("a:1,b:2").each()] == ["a:1", "b:2"]
