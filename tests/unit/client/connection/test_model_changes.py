"""A server that is replaced behind its address: the names of an answer are those of the model that gave it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from maskline_client import AsyncDetector, ClientError, ContractMismatch, Detector
from maskline_client.commands.predict import Shards, predict
from unit.client.triton_double import CLASSES, SIZE, WITH_BOTH, WITH_MASKS, Script, Server, file_with, serving

OTHER = CLASSES[::-1]
# Of the first and the second server; empty: assembled by a release that does not say.
ARTIFACTS = {"both say": ("a" * 64, "b" * 64), "neither says": ("", ""), "only the second": ("", "b" * 64)}


@contextlib.contextmanager
def replaced(server: Server, artifact: str = "") -> Iterator[Server]:
    """Another server with the same tensors and the class names reversed, at the same address."""
    script = Script(labels=json.dumps(OTHER), artifact=artifact)
    with serving(script, int(server.url.rpartition(":")[2])) as other:
        yield other


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_the_names_are_those_of_the_model_that_answered(kind: str) -> None:
    first, second = ARTIFACTS[kind]
    with contextlib.ExitStack() as stack:
        with serving(Script(artifact=first)) as server:
            detector = stack.enter_context(Detector(server.url, deadline_s=30))
            assert detector.detect(file_with(2)).names == CLASSES[:2]
        stack.enter_context(replaced(server, second))
        assert detector.detect(file_with(2)).names == OTHER[:2]
        assert detector.classes == OTHER


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_the_asyncio_client_does_so_too(kind: str) -> None:
    first, second = ARTIFACTS[kind]

    async def call() -> None:
        with contextlib.ExitStack() as stack:
            with serving(Script(artifact=first)) as server:
                detector = AsyncDetector(server.url, deadline_s=30)
                assert (await detector.detect(file_with(2))).names == CLASSES[:2]
            stack.enter_context(replaced(server, second))
            assert (await detector.detect(file_with(2))).names == OTHER[:2]
            assert await detector.classes() == OTHER
            await detector.close()

    asyncio.run(call())


def test_an_older_server_in_the_place_of_a_newer_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not look at the artifact of a request; the time since the contract was read tells it."""
    with contextlib.ExitStack() as stack:
        with serving(Script(artifact="a" * 64)) as server:
            detector = stack.enter_context(Detector(server.url, deadline_s=30))
            assert detector.detect(file_with(2)).names == CLASSES[:2]
        stack.enter_context(replaced(server))
        monkeypatch.setattr("maskline_client.calling.known_model.TRUST_S", 0.0)  # as if its start had taken its time
        assert detector.detect(file_with(2)).names == OTHER[:2]


def test_a_server_that_says_its_artifact_is_asked_for_its_contract_once_for_many_answers() -> None:
    with serving(Script(artifact="a" * 64)) as server, Detector(server.url) as detector:
        for _ in range(5):  # well within the half second for which the contract is trusted
            detector.detect(file_with(1))
        assert server.script.contracts <= 2


def test_a_model_that_is_replaced_between_two_questions_for_its_contract_is_read_again() -> None:
    """Else its names would be those of the new one, and the outputs asked for those of the old one."""
    with serving(Script(artifact="a" * 64, outputs=WITH_MASKS)) as server, Detector(server.url) as detector:
        script = server.script

        def replace() -> None:
            script.artifact, script.labels, script.outputs = "b" * 64, json.dumps(OTHER), WITH_BOTH

        script.after_question = replace
        found = detector.detect(file_with(2))
    assert (found.names, found.model.artifact) == (OTHER[:2], "b" * 64)
    assert found.keypoints is not None


@pytest.mark.parametrize("artifacts", [("a" * 64, "b" * 64), ("", "")])
def test_a_run_over_many_images_ends_when_the_model_changes(artifacts: tuple[str, str]) -> None:
    with contextlib.ExitStack() as stack:
        with serving(Script(artifact=artifacts[0])) as server:
            detector = stack.enter_context(Detector(server.url, deadline_s=30))
            model = detector.model
            (first,) = detector.try_detect_many([file_with(2)], of=model)
            assert first.unwrap().names == CLASSES[:2]
        stack.enter_context(replaced(server, artifacts[1]))
        (second,) = detector.try_detect_many([file_with(2)], of=model)
        with pytest.raises(ContractMismatch, match=r"changed during this run: .*star, square, circle"):
            second.unwrap()


def test_predictions_of_two_models_are_not_mixed(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(3):
        (images / f"{i}.png").write_bytes(file_with(2))
    paths = sorted(images.iterdir())
    with contextlib.ExitStack() as stack:
        with serving(Script(artifact="a" * 64)) as server:
            detector = stack.enter_context(Detector(server.url, deadline_s=30))
            shards = Shards(tmp_path / "out", detector.model)
            predict(detector, images, paths[:1], shards)
        # The same names this time: only the hash tells the models apart.
        stack.enter_context(serving(Script(artifact="b" * 64), int(server.url.rpartition(":")[2])))
        with pytest.raises(ContractMismatch, match="changed during this run"):
            predict(detector, images, paths, shards)
        with pytest.raises(ValueError, match=r"got predictions with the artifact aaaa.*use another --out"):
            Shards(tmp_path / "out", detector.model)


@pytest.mark.parametrize("kind", ["both say", "neither says"])
def test_a_restart_under_load_shows_no_name_of_the_other_model(kind: str) -> None:
    """The size of the image tells which server answered; each has its own names."""
    first, second = ARTIFACTS[kind]
    names = {SIZE: CLASSES[:2], (21, 31): OTHER[:2]}
    seen: list[tuple[tuple[int, int], tuple[str, ...]]] = []
    wrong: list[ClientError] = []
    over = threading.Event()

    def call(detector: Detector) -> None:
        while not over.is_set():
            try:
                found = detector.detect(file_with(2))
                seen.append((found.image_size, found.names))
            except ClientError as error:  # of the moment between the two servers
                wrong.extend([error] if isinstance(error, ContractMismatch) else [])

    def wait_for(size: tuple[int, int]) -> None:
        end = time.monotonic() + 30
        while not any(found == size for found, _ in seen) and time.monotonic() < end:
            time.sleep(0.01)

    with contextlib.ExitStack() as stack:
        with serving(Script(artifact=first)) as server:
            detector = stack.enter_context(Detector(server.url, deadline_s=30))
            threads = [threading.Thread(target=call, args=(detector,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            wait_for(SIZE)
        port = int(server.url.rpartition(":")[2])
        stack.enter_context(serving(Script(labels=json.dumps(OTHER), artifact=second, size=(21, 31)), port))
        wait_for((21, 31))
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert {size for size, _ in seen} == set(names)
    assert all(names[size] == found for size, found in seen)
