"""Two servers that both run, and a balancer that sends clients from one to the other without a pause."""

from __future__ import annotations

import contextlib
import json
import threading
import time

import pytest
from maskline_client import Detector
from maskline_client.calling.known_model import TRUST_S
from support.serving.switch import switching
from unit.client.triton_double import CLASSES, SIZE, Script, file_with, serving

OTHER_SIZE = (21, 31)  # of every image, by the second server
NAMES = {SIZE: CLASSES[:2], OTHER_SIZE: CLASSES[::-1][:2]}
# The artifacts that the two say; empty: of a release that does not.
ARTIFACTS = {"both say": ("a" * 64, "b" * 64), "neither says": ("", ""), "only the second": ("", "b" * 64)}
ONLY_THE_FIRST = ("a" * 64, "")


def wrong_answers(artifacts: tuple[str, str], watch_s: float) -> list[float]:
    """Call from four threads, switch once, call on for `watch_s`.

    Returns:
        The seconds after the switch at which the calls began whose answer had the other model's names.
    """
    got: list[tuple[float, bool]] = []  # of the answers of the second server: when asked, whether right
    over, errors = threading.Event(), []

    def call(detector: Detector) -> None:
        while not over.is_set():
            asked = time.monotonic()
            try:
                found = detector.detect(file_with(2))
            except Exception as error:  # of any kind is one too many: a cut connection is mended by the retries
                errors.append(error)
                return
            if found.image_size == OTHER_SIZE or found.names != NAMES[SIZE]:
                got.append((asked, found.names == NAMES[found.image_size]))

    with contextlib.ExitStack() as stack:
        first = stack.enter_context(serving(Script(artifact=artifacts[0])))
        second = stack.enter_context(
            serving(Script(artifact=artifacts[1], labels=json.dumps(CLASSES[::-1]), size=OTHER_SIZE))
        )
        switch = stack.enter_context(switching(first.url))
        detector = stack.enter_context(Detector(switch.url, deadline_s=30))
        threads = [threading.Thread(target=call, args=(detector,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        switch.turn(second.url)
        switched = time.monotonic()
        time.sleep(watch_s)
        over.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert got
    assert got[-1][1]
    return [asked - switched for asked, right in got if not right]


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_no_answer_has_the_names_of_the_other_model(kind: str) -> None:
    assert not wrong_answers(ARTIFACTS[kind], 0.8 * TRUST_S)


def test_a_server_that_does_not_look_at_the_hash_is_found_out_within_the_time_of_trust() -> None:
    """Nothing in its answer tells it from one that does: docs/architecture.md says so of this one case."""
    assert max(wrong_answers(ONLY_THE_FIRST, 2 * TRUST_S), default=0.0) < TRUST_S
