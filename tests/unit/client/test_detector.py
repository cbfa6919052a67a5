"""The sync client against a real gRPC server on the loopback: answers, retries, deadlines, order, the contract."""

import dataclasses
import json
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from maskline_client import (
    ClientError,
    ContractMismatch,
    DeadlineExceeded,
    Detector,
    InvalidImage,
    QueueFull,
    ServerUnavailable,
    contract,
)
from unit.client.triton_double import SIZE, WITH_MASKS, Server, file_with, mask_of


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_answer_is_cut_to_its_objects(server: Server, count: int) -> None:
    with Detector(server.url) as detector:
        found = detector.detect(file_with(count))
        assert detector.classes == ("circle", "square", "star")
    assert len(found) == count
    assert found.image_size == SIZE
    assert found.names == ("circle", "square", "star", "circle", "square")[:count]
    np.testing.assert_allclose(found.scores, 0.9 - 0.1 * np.arange(count), atol=1e-6)  # float32
    np.testing.assert_array_equal(found.masks(), [mask_of(i) for i in range(count)] or np.zeros((0, *SIZE), bool))
    if count:
        np.testing.assert_array_equal(found.boxes[0], [0, 0, 7, 5])


def test_the_file_travels_unchanged_trailing_zeros_included(server: Server) -> None:
    data = file_with(3) + b"\0\0\0"
    with Detector(server.url) as detector:
        assert len(detector.detect(data)) == 0
    assert server.script.images == [data]


def test_an_answer_beyond_grpcs_default_limit_of_4_mb_arrives(server: Server) -> None:
    server.script.padding = bytes(5 << 20)
    with Detector(server.url) as detector:
        assert len(detector.detect(file_with(4, 6 << 20))) == 4


@pytest.mark.parametrize("size", [32, 1 << 20])  # gRPC's retry buffer is 256 KiB by default, less than a photograph
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])  # gone; about to go
def test_a_call_is_repeated_while_the_server_is_away(server: Server, size: int, code: grpc.StatusCode) -> None:
    server.script.failures, server.script.code = 2, code
    with Detector(server.url, deadline_s=30) as detector:
        assert len(detector.detect(file_with(4, size))) == 4
    assert server.script.calls == 3


def test_without_retries_the_first_failure_counts(server: Server) -> None:
    server.script.failures = 1
    with Detector(server.url, retries=0) as detector, pytest.raises(ServerUnavailable, match="scripted"):
        detector.detect(file_with(1))
    assert server.script.calls == 1


def test_a_full_queue_is_told_apart(server: Server) -> None:
    server.script.failures = 99
    server.script.details = "[request id: <id_unknown>] Exceeds maximum queue size"
    with Detector(server.url, retries=1) as detector, pytest.raises(QueueFull):
        detector.detect(file_with(1))
    assert server.script.calls == 2


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidImage),
        (grpc.StatusCode.INTERNAL, ClientError),
        (grpc.StatusCode.NOT_FOUND, ContractMismatch),
    ],
)
def test_other_failures_are_not_repeated(server: Server, code: grpc.StatusCode, kind: type[ClientError]) -> None:
    server.script.failures, server.script.code = 1, code
    with Detector(server.url) as detector, pytest.raises(kind, match="scripted"):
        detector.detect(file_with(1))
    assert server.script.calls == 1


def test_a_deadline_ends_a_call_in_time(server: Server) -> None:
    server.script.sleep_s = 60
    with Detector(server.url, deadline_s=1) as detector:
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=r"within 1 s"):
            detector.detect(file_with(1))
    assert time.monotonic() - start < 30  # long before the server answers, with room for a loaded machine


def test_threads_that_wait_for_one_contract_check_keep_their_own_deadlines(server: Server) -> None:
    """One after the other, each with a deadline of its own, these would take 20 s."""
    server.script.metadata_sleep_s = 60
    start = time.monotonic()
    with Detector(server.url, deadline_s=1) as detector:
        outcomes = list(detector.try_detect_many([file_with(1)] * 20, in_flight=20))
    assert {type(outcome.error) for outcome in outcomes} == {DeadlineExceeded}
    assert time.monotonic() - start < 10


def test_the_contract_check_counts_against_the_first_calls_deadline(server: Server) -> None:
    server.script.metadata_sleep_s = 1.5
    server.script.sleep_s = 1.5
    with Detector(server.url, deadline_s=2) as detector:
        with pytest.raises(DeadlineExceeded):
            detector.detect(file_with(1))
        server.script.metadata_sleep_s = server.script.sleep_s = 0
        assert len(detector.detect(file_with(1))) == 1


def test_nobody_at_the_address_is_unavailable() -> None:
    with Detector("127.0.0.1:1", retries=1) as detector, pytest.raises(ServerUnavailable, match="maskline-serve run"):
        detector.detect(file_with(1))


def test_a_bad_image_is_refused_before_anything_is_sent() -> None:
    with Detector("127.0.0.1:1") as detector, pytest.raises(InvalidImage, match="expected JPEG, PNG or WebP"):
        detector.detect(b"hello")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "http://host:8000",
        "host:port",
        ":8001",
        "host:0",
        "host:65536",
        "::1:8001",
        " host:1",
        "a b:1",
        "host:\u0661",
    ],
)
def test_an_address_that_is_no_host_and_port_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="expected host:port"):
        Detector(url)


@pytest.mark.parametrize(("name", "value"), [("deadline_s", 0.0), ("deadline_s", float("nan")), ("retries", 5)])
def test_options_that_cannot_work_are_refused_at_once(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="got "):
        Detector(**{name: value})


def test_many_images_come_back_in_order_with_a_bound_on_those_under_way(server: Server) -> None:
    server.script.sleep_s = 0.05
    pulled = 0

    def images() -> Iterator[bytes]:
        nonlocal pulled
        for i in range(40):
            pulled += 1
            yield file_with(i % 6)

    with Detector(server.url) as detector:
        ahead = []
        for taken, found in enumerate(detector.detect_many(images(), in_flight=3)):
            assert len(found) == min(taken % 6, 5)
            ahead.append(pulled - taken)
    assert taken == 39
    assert max(ahead) <= 3
    assert 2 <= server.script.most_under_way <= 3  # in parallel, and never more


def test_one_bad_image_of_many_is_raised_or_handed_over_by_choice(server: Server) -> None:
    files = [file_with(1), b"text", file_with(2)]
    with Detector(server.url) as detector:
        outcomes = list(detector.try_detect_many(files))
        assert [outcome.source for outcome in outcomes] == files
        assert [type(outcome.error) for outcome in outcomes] == [type(None), InvalidImage, type(None)]
        assert len(outcomes[2].unwrap()) == 2
        iterator = detector.detect_many(files)
        assert len(next(iterator)) == 1
        with pytest.raises(InvalidImage):
            next(iterator)


def test_no_image_gives_no_answer(server: Server) -> None:
    with Detector(server.url) as detector:
        assert list(detector.detect_many([])) == []
        with pytest.raises(ValueError, match="in_flight: got 0"):
            detector.detect_many([], in_flight=0).__next__()


def test_leaving_early_neither_waits_nor_leaves_threads_behind(server: Server) -> None:
    before = set(threading.enumerate())  # a command that another test broke off in this process may leave its own

    def left() -> list[str]:
        threads = set(threading.enumerate()) - before
        return [thread.name for thread in threads if thread.name.startswith("maskline-detect")]

    with Detector(server.url) as detector:
        iterator = detector.try_detect_many([file_with(1)] * 8, in_flight=4)
        next(iterator)
        server.script.sleep_s = 60
        start = time.monotonic()
        iterator.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 20
    end = time.monotonic() + 20
    while left() and time.monotonic() < end:
        time.sleep(0.02)
    assert left() == []


def test_a_detector_may_be_shared_between_threads(server: Server) -> None:
    with Detector(server.url) as detector:
        results: list[int] = []
        threads = [
            threading.Thread(target=lambda i=i: results.append(len(detector.detect(file_with(i))))) for i in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda specs: specs[:-1],
            "outputs: got boxes, labels, mask_rle, num_detections, scores, expected boxes, image_size, labels, "
            "num_detections, scores and perhaps mask_rle or keypoints",
        ),
        (lambda specs: (*specs, contract.MASKS), "serves another model"),
        (
            lambda specs: tuple(dataclasses.replace(s, dtype="FP16") if s.name == "boxes" else s for s in specs),
            r"output boxes: got FP16 \[-1, 5, 4\], expected FP32 \[-1, D, 4\]",
        ),
        (
            lambda specs: tuple(dataclasses.replace(s, shape=(9,)) if s.name == "scores" else s for s in specs),
            r"output scores: got FP32 \[-1, 9\], expected FP32 \[-1, 5\]",  # D is 5 in boxes, which come first
        ),
        (
            lambda specs: tuple(dataclasses.replace(s, shape=(3,)) if s.name == "image_size" else s for s in specs),
            r"output image_size: got INT32 \[-1, 3\], expected INT32 \[-1, 2\]",
        ),
    ],
)
def test_a_server_with_other_tensors_is_named_at_the_first_call(server: Server, change, text: str) -> None:
    server.script.outputs = change(WITH_MASKS)
    with Detector(server.url) as detector, pytest.raises(ContractMismatch, match=text):
        detector.detect(file_with(1))
    assert server.script.calls == 0


@pytest.mark.parametrize("labels", ["", "[]", '{"a": 1}', "[1, 2]", "not JSON"])
def test_a_server_without_class_names_is_refused(server: Server, labels: str) -> None:
    server.script.labels = labels
    with Detector(server.url) as detector, pytest.raises(ContractMismatch, match="expected a JSON list of class names"):
        detector.detect(file_with(1))


def test_a_label_beyond_the_class_names_is_refused(server: Server) -> None:
    server.script.labels = json.dumps(["only one"])
    with Detector(server.url) as detector:
        assert len(detector.detect(file_with(1))) == 1
        with pytest.raises(ContractMismatch, match="labels: got 0 to 1, expected 0 to 0"):
            detector.detect(file_with(2))
