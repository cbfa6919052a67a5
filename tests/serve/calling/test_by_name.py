"""A model under a name of its own in the real server: asked for by name, with masks and without, and traced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from maskline_client import AsyncDetector, ContractMismatch, Detections, Detector, LocalDetector
from maskline_client.cli import main
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from support.processes.in_process import call

pytestmark = pytest.mark.triton

SIZE = (40, 60)  # (height, width)
NAME = "nuclei"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in with masks and keypoints, under a name of its own."""
    root = tmp_path_factory.mktemp("named")
    artifact = standin.write_artifact(root / "artifact", standin.VARIANTS["masks and keypoints"])
    assemble(artifact, root / "repository", name=NAME)
    return root / "repository"


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[TritonServer]:
    with TritonServer(folder, drain_s=1) as running:
        yield running


def assert_boxes_alone(found: Detections, whole: Detections) -> None:
    assert (found.rle, found.keypoints, found.names, found.image_size) == (None, None, whole.names, SIZE)
    np.testing.assert_array_equal(found.boxes, whole.boxes)  # the same steps up to here
    np.testing.assert_array_equal(found.scores, whole.scores)
    assert found.model == whole.model


def test_boxes_alone_are_those_of_the_whole_answer(served: TritonServer, folder: Path) -> None:
    image = standin.picture(7, SIZE)
    with Detector(served.grpc_url, model=NAME) as detector:
        whole = detector.detect(image)
        assert (len(whole), whole.rle is None, whole.keypoints is None) == (7, False, False)
        assert_boxes_alone(detector.detect(image, masks=False), whole)
        outcomes = detector.try_detect_many([image] * 3, of=detector.model, masks=False)
        for outcome in outcomes:
            assert_boxes_alone(outcome.unwrap(), whole)

    async def ask() -> Detections:
        async with AsyncDetector(served.grpc_url, model=NAME) as detector:
            return await detector.detect(image, masks=False)

    assert_boxes_alone(asyncio.run(ask()), whole)
    with LocalDetector(folder) as local:
        assert local.model.identity == whole.model
        assert_boxes_alone(local.detect(image, masks=False), whole)


def test_an_answer_is_traced_to_its_repository(served: TritonServer, folder: Path) -> None:
    repository = Repository.load(folder)
    with Detector(served.grpc_url, model=NAME) as detector:
        model = detector.detect(standin.picture(1, SIZE)).model
    assert (model.name, model.precision, model.maskline) == (NAME, "fp32", repository.maskline)
    assert (model.artifact, model.revision) == (repository.artifact["manifest_sha256"], repository.revision)
    assert len(model.revision) == 12


def test_a_server_tells_the_names_that_it_serves(served: TritonServer) -> None:
    with Detector(served.grpc_url) as detector, pytest.raises(ContractMismatch, match=f"that it serves: {NAME};"):
        detector.detect(standin.picture(1, SIZE))


def test_commands_find_it(
    served: TritonServer, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "3.png").write_bytes(standin.picture(3, SIZE))
    url = ("--url", served.grpc_url)
    assert call(main, "health", "--deep", *url, "--deadline", "60") == 0  # of all models, by itself
    told = capsys.readouterr().out
    for part in (f"model backbone of {NAME}", f"contract {NAME}_boxes", f"canary {NAME}"):
        assert part in told
    for ensemble in ("full", "boxes", "engines"):
        words = ("--images", str(tmp_path / "in"), "--out", str(tmp_path / ensemble), "--model", NAME)
        load = ("--ensemble", ensemble, "--requests", "2", "--warmup", "0", "--concurrency", "1", "--timeout", "60")
        assert call(main, "bench", *url, *words, *load) == 0, capsys.readouterr().err
        (run,) = json.loads((tmp_path / ensemble / "results.json").read_text())["runs"]
        steps = {step["model"] for step in run["steps"]}
        assert ("postprocess" in steps, "mask" in steps) == (ensemble == "full", ensemble != "boxes")
        assert "backbone" in steps
    words = ("detect", str(tmp_path / "in"), "--local", str(folder), "--no-masks", "--json")
    assert call(main, *words, "--model", "other") == 2  # the folder has another one
    assert call(main, *words, "--model", NAME) == 0
    assert "rle" not in json.loads(capsys.readouterr().out.splitlines()[-1])
