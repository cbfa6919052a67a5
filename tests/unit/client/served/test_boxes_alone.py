"""Boxes on demand: an answer without masks and keypoints, by an ensemble that does not compute them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from maskline_client import AsyncDetector, ContractMismatch, Detections, Detector, contract
from maskline_client.commands.health import check_server
from maskline_client.connection import Connection
from unit.client.commands.test_cli import assert_one_line, photo, run
from unit.client.triton_double import WITH_BOTH, Server, file_with

OLDER = tuple(spec for spec in contract.ENSEMBLES if spec is not contract.MASKRCNN_BOXES)


def assert_boxes_alone(found: Detections, count: int) -> None:
    assert (len(found), found.rle, found.keypoints, found.keypoint_names) == (count, None, None, ())
    np.testing.assert_array_equal(found.boxes, [[2 * i, i, 2 * i + 7, i + 5] for i in range(count)])


def test_one_detector_answers_with_masks_and_without(server: Server) -> None:
    server.script.outputs = WITH_BOTH
    with Detector(server.url) as detector:
        whole = detector.detect(file_with(3))
        alone = detector.detect(file_with(3), masks=False)
        assert whole.rle is not None
        assert whole.keypoints is not None
        assert_boxes_alone(alone, 3)
        assert alone.model == whole.model
        assert detector.model.has_masks
        for found in detector.detect_many([file_with(2)] * 3, masks=False):
            assert_boxes_alone(found, 2)


def test_the_asyncio_client_does_so_too(server: Server) -> None:
    server.script.outputs = WITH_BOTH

    async def call() -> list[Detections]:
        async with AsyncDetector(server.url) as detector:
            many = [found async for found in detector.detect_many([file_with(2)] * 3, masks=False)]
            return [*many, await detector.detect(file_with(2), masks=False)]

    for found in asyncio.run(call()):
        assert_boxes_alone(found, 2)


@pytest.mark.parametrize("changed", [False, True])
def test_a_run_without_masks_is_of_one_model(server: Server, changed: bool) -> None:
    server.script.artifact = "a" * 64
    with Detector(server.url) as detector:
        model = detector.model
        if changed:
            server.script.artifact = "b" * 64
        outcomes = list(detector.try_detect_many([file_with(1)] * 2, of=model, masks=False))
    for outcome in outcomes:
        assert isinstance(outcome.error, ContractMismatch) if changed else len(outcome.unwrap()) == 1


def test_a_repository_of_an_earlier_release_has_masks_alone(server: Server) -> None:
    server.script.ensembles = OLDER
    said = "got a model maskrcnn without the ensemble maskrcnn_boxes.*assemble it again"
    with Detector(server.url) as detector:
        with pytest.raises(ContractMismatch, match=said):
            detector.detect(file_with(1), masks=False)
        assert len(detector.detect(file_with(1))) == 1


def test_health_does_not_ask_an_earlier_release_for_what_it_lacks(server: Server) -> None:
    names = {check.name for check in check_server(Connection(server.url, 30), deep=False)}
    assert {"model maskrcnn_boxes", "contract maskrcnn_boxes"} <= names
    server.script.ensembles = OLDER
    names = {check.name for check in check_server(Connection(server.url, 30), deep=False)}
    assert "contract maskrcnn" in names
    assert "contract maskrcnn_boxes" not in names


def test_commands_ask_for_boxes_alone(server: Server, tmp_path: Path) -> None:
    server.script.outputs = WITH_BOTH
    photo(tmp_path / "in" / "a.png")
    words = (tmp_path / "in", "--url", server.url, "--no-masks")
    assert run("detect", *words, "--out", tmp_path / "out").returncode == 0
    told = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert told["annotations"]
    assert not any({"segmentation", "keypoints"} & {*annotation} for annotation in told["annotations"])
    assert "keypoints" not in told["categories"][0]
    for _ in range(2):  # the second run finds its own folder fit to go on with
        assert run("predict", *words, "--out", tmp_path / "lines").returncode == 0
    (line,) = (tmp_path / "lines" / "predictions-00000.jsonl").read_text().splitlines()
    assert not {"rle", "keypoints"} & {*json.loads(line)}
    whole = run("predict", *words[:-1], "--out", tmp_path / "lines")
    assert_one_line(whole, 2, "got predictions with the masks False, expected those of this server: True")
