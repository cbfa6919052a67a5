"""Clients and servers of different releases, and a restart under load, with the real server.

The older release is the one before a model said which artifact it is made of: its client sends no such parameter, its
repository has none, and its `preprocess` does not look at what a request says of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from maskline_client import AsyncDetector, ContractMismatch, Detections, Detector, ServerUnavailable
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import DEADLINE_S, image_input
from support.served_models import model_of
from support.serving.switch import switching
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

BEST_SCORE = {"first": 0.99, "second": 0.89}  # by which a test sees which of two models answered
PICTURE = standin.picture(2, (40, 60))
CLASSES = {"first": standin.SPEC.classes, "second": standin.SPEC.classes[::-1]}


def model(folder: Path, which: str, release: str) -> Path:
    """A repository of the first or the second model, of this release (`today`) or of the one before (`older`)."""
    artifact = standin.write_artifact(
        folder / "artifact", dataclasses.replace(standin.SPEC, classes=CLASSES[which]), BEST_SCORE[which]
    )
    repository = folder / "repository"
    assemble(artifact, repository)
    if release == "older":
        for path in repository.glob("models/*/config.pbtxt"):
            path.write_text(re.sub(r'parameters \{ key: "artifact_sha256".*\n', "", path.read_text()))
        code = model_of(repository, "preprocess") / "1" / "model.py"
        code.write_text(code.read_text().replace("self._other_model(request) or ", ""))
    return repository


def lasting_port() -> int:
    """A free port that Linux gives to no outgoing connection: none takes it between the two servers."""
    for port in random.sample(range(20_000, 30_000), 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("50 ports in use")


def check(found: Detections) -> str:
    """Which model answered, once its two objects are all right and have its own names."""
    which = next(name for name, best in BEST_SCORE.items() if abs(found.scores[0] - best) < 1e-4)  # float32
    assert found.names == CLASSES[which][:2]
    np.testing.assert_allclose(found.boxes, standin.expected_boxes(2, (40, 60)), atol=1e-3)  # float32 px
    for i in range(2):
        np.testing.assert_array_equal(found.mask(i), standin.expected_mask((40, 60), i))
    return which


def test_an_older_client_is_answered_as_ever(client: triton.InferenceServerClient) -> None:
    """It takes the names out of the configuration once and sends the image alone, as the wire contract has it."""
    names = json.loads(client.get_model_config("maskrcnn").config.parameters["labels"].string_value)
    outputs = ("num_detections", "boxes", "scores", "labels", "mask_rle", "image_size")
    asked = [triton.InferRequestedOutput(name) for name in outputs]
    result = client.infer("maskrcnn", [image_input([PICTURE])], outputs=asked, client_timeout=DEADLINE_S)
    got = {name: result.as_numpy(name)[0] for name in outputs}
    count = got["num_detections"].item()
    found = Detections(
        got["boxes"][:count],
        got["scores"][:count],
        got["labels"][:count],
        tuple(names[label] for label in got["labels"][:count]),
        tuple(got["mask_rle"][:count]),
        tuple(got["image_size"].tolist()),
    )
    assert check(found) == "first"


@pytest.mark.long
def test_todays_client_reads_an_older_server_and_sees_it_replaced_without_a_pause(tmp_path: Path) -> None:
    folders = [model(tmp_path / which, which, "older") for which in BEST_SCORE]
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        servers = [TritonServer(folder, drain_s=5) for folder in folders]
        list(pool.map(lambda server: stack.enter_context(server), servers))  # both at a time: each takes seconds
        switch = stack.enter_context(switching(servers[0].grpc_url))
        detector = stack.enter_context(Detector(switch.url, deadline_s=DEADLINE_S))
        assert detector.model.artifact == ""
        for i in range(4):
            assert check(detector.detect(PICTURE)) == ("first", "second")[i % 2]
            before = detector.model
            switch.turn(servers[(i + 1) % 2].grpc_url)
            (outcome,) = detector.try_detect_many([PICTURE], of=before)
            assert isinstance(outcome.error, ContractMismatch)


@pytest.mark.long
@pytest.mark.parametrize(
    ("releases", "retries"),
    [
        (("today", "today"), 0),
        (("today", "today"), 4),
        (("older", "today"), 4),
        (("today", "older"), 0),
        (("older", "older"), 0),
    ],
)
def test_a_restart_under_load_answers_rightly_or_says_that_it_is_away(
    releases: tuple[str, str], retries: int, tmp_path: Path
) -> None:
    """The second server takes the port of the first; threads and tasks call all the time, and try again on refusals."""
    folders = [model(tmp_path / which, which, release) for which, release in zip(BEST_SCORE, releases, strict=True)]
    answers: list[str] = []
    refusals: list[Exception] = []
    over, port = threading.Event(), lasting_port()

    def call(detector: Detector) -> None:
        while not over.is_set():
            try:
                answers.append(check(detector.detect(PICTURE)))
            except ServerUnavailable as error:
                refusals.append(error)
                time.sleep(0.05)

    async def call_async(url: str) -> None:
        async def one(detector: AsyncDetector) -> None:
            while not over.is_set():
                try:
                    answers.append(check(await detector.detect(PICTURE)))
                except ServerUnavailable as error:
                    refusals.append(error)
                    await asyncio.sleep(0.05)

        async with AsyncDetector(url, deadline_s=DEADLINE_S, retries=retries) as detector:
            await asyncio.gather(*(one(detector) for _ in range(3)))

    def wait_for(which: str, since: int) -> None:
        end = time.monotonic() + DEADLINE_S
        while answers[since:].count(which) < 20 and time.monotonic() < end:
            time.sleep(0.05)

    with ThreadPoolExecutor(5) as pool, contextlib.ExitStack() as stack:
        stack.callback(over.set)
        with TritonServer(folders[0], grpc_port=port, drain_s=5) as first:
            url = first.grpc_url
            detector = stack.enter_context(Detector(url, deadline_s=DEADLINE_S, retries=retries))
            calls = [pool.submit(call, detector) for _ in range(3)] + [pool.submit(asyncio.run, call_async(url))]
            wait_for("first", 0)
        stopped = len(answers)
        stack.enter_context(TritonServer(folders[1], grpc_port=port, drain_s=5))
        wait_for("second", stopped)
        over.set()
        for one in calls:
            one.result(timeout=DEADLINE_S)  # raises what was neither a right answer nor ServerUnavailable
    assert answers.count("first") >= 20
    assert answers[stopped:].count("second") >= 20
    assert refusals
