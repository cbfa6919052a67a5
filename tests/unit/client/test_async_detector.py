"""The asyncio client: the same answers and errors as the sync one."""

import asyncio
import time

import numpy as np
import pytest
from maskline_client import AsyncDetector, DeadlineExceeded, Detector, InvalidImage, ServerUnavailable
from unit.client.triton_double import Server, file_with


def test_it_answers_as_the_sync_client_does(server: Server) -> None:
    async def call() -> object:
        async with AsyncDetector(server.url) as detector:
            assert await detector.classes() == ("circle", "square", "star")
            return await detector.detect(file_with(3))

    ours = asyncio.run(call())
    with Detector(server.url) as detector:
        theirs = detector.detect(file_with(3))
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    assert (ours.names, ours.rle, ours.image_size) == (theirs.names, theirs.rle, theirs.image_size)


def test_many_images_come_back_in_order_with_a_bound_on_those_under_way(server: Server) -> None:
    server.script.sleep_s = 0.05

    async def call() -> list[int]:
        async with AsyncDetector(server.url) as detector:
            return [len(found) async for found in detector.detect_many([file_with(i % 5) for i in range(20)], 3)]

    assert asyncio.run(call()) == [i % 5 for i in range(20)]
    assert 2 <= server.script.most_under_way <= 3


def test_retries_and_deadlines_hold(server: Server) -> None:
    async def call(**options: float) -> int:
        async with AsyncDetector(server.url, **options) as detector:
            return len(await detector.detect(file_with(2, 1 << 20)))

    server.script.failures = 2
    assert asyncio.run(call()) == 2
    assert server.script.calls == 3
    server.script.sleep_s = 60
    with pytest.raises(DeadlineExceeded):
        asyncio.run(call(deadline_s=1))


def test_tasks_that_wait_for_one_contract_check_keep_their_own_deadlines(server: Server) -> None:
    server.script.metadata_sleep_s = 60

    async def call() -> list[object]:
        async with AsyncDetector(server.url, deadline_s=1) as detector:
            return [o async for o in detector.try_detect_many([file_with(1)] * 20, in_flight=20)]

    start = time.monotonic()
    assert {type(outcome.error) for outcome in asyncio.run(call())} == {DeadlineExceeded}
    assert time.monotonic() - start < 10


def test_the_two_calls_of_the_contract_check_share_one_deadline(server: Server) -> None:
    """Each takes 2 of the 3 seconds that both have together."""
    server.script.metadata_sleep_s = server.script.config_sleep_s = 2

    async def call() -> None:
        async with AsyncDetector(server.url, deadline_s=3) as detector:
            await detector.model()

    with pytest.raises(DeadlineExceeded):
        asyncio.run(call())
    with Detector(server.url, deadline_s=3) as detector, pytest.raises(DeadlineExceeded):
        _ = detector.model


def test_errors_are_those_of_the_sync_client(server: Server) -> None:
    async def outcomes() -> list[object]:
        async with AsyncDetector(server.url) as detector:
            return [o async for o in detector.try_detect_many([file_with(1), b"text", file_with(2)])]

    async def nobody() -> None:
        async with AsyncDetector("127.0.0.1:1", retries=0) as detector:
            await detector.detect(file_with(1))

    found = asyncio.run(outcomes())
    assert [type(outcome.error) for outcome in found] == [type(None), InvalidImage, type(None)]
    with pytest.raises(ServerUnavailable):
        asyncio.run(nobody())


def test_a_cancelled_iteration_cancels_its_calls(server: Server) -> None:
    async def call() -> int:
        async with AsyncDetector(server.url) as detector:
            await detector.classes()
            server.script.sleep_s = 0.3
            iterator = detector.try_detect_many([file_with(1)] * 6, 3)
            await anext(iterator)
            await iterator.aclose()
            return len(asyncio.all_tasks())

    assert asyncio.run(call()) == 1  # this task alone
