"""`LocalDetector`: what the real server answers, without one; and a process that is left as it was found."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from maskline_client import (
    AsyncDetector,
    AsyncTiledDetector,
    ClientError,
    Detections,
    Detector,
    InvalidImage,
    InvalidModel,
    LocalDetector,
    TiledDetector,
)
from maskline_client.cli import main
from maskline_client.errors import RefusedImage
from maskline_host.library import VARIABLE, library_path
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.on_disk import FILE
from maskline_serve.server.triton_server import TritonServer
from PIL import Image
from serve import standin
from support.processes.in_process import call

Said = pytest.CaptureFixture[str]


def assert_same(found: Detections, expected: Detections) -> None:
    """Byte for byte."""
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.names, found.rle, found.image_size) == (expected.names, expected.rle, expected.image_size)
    assert found.keypoint_names == expected.keypoint_names
    assert (found.keypoints is None) == (expected.keypoints is None)
    if found.keypoints is not None:
        np.testing.assert_array_equal(found.keypoints, expected.keypoints)


@pytest.fixture(scope="module")
def local(artifact: Path) -> LocalDetector:
    with LocalDetector(artifact) as detector:
        yield detector


@pytest.mark.triton
def test_it_answers_what_the_server_answers(server: TritonServer, local: LocalDetector) -> None:
    sizes = [(48, 72), (40, 60), (300, 100), (1, 1), (700, 500)]
    pictures = [standin.picture(count, size) for count, size in enumerate(sizes)]
    pictures += [standin.picture(3, (48, 72), image_format) for image_format in ("JPEG", "WEBP")]
    with Detector(server.grpc_url) as served:
        assert local.model == served.model
        answers = zip(local.detect_many(pictures), served.detect_many(pictures), strict=True)
        counts = [assert_same(*pair) or len(pair[0]) for pair in answers]
    assert sum(counts) > 5  # or nothing was compared


@pytest.mark.triton
def test_by_tiles_too(server: TritonServer, local: LocalDetector, tmp_path: Path, capsys: Said) -> None:
    """The stand-in finds as many objects in a tile as its colour says; they reach its edges or not, all the same."""
    pixels = np.full((130, 200, 3), 7, np.uint8)
    pixels[:, 100:] = 3
    expected = TiledDetector(local, 64).detect(pixels)
    with TiledDetector(Detector(server.grpc_url), 64) as there:
        assert_same(there.detect(pixels), expected)
        boxes = there.detect(pixels, masks=False)

    async def in_a_loop() -> Detections:
        async with AsyncTiledDetector(AsyncDetector(server.grpc_url), 64) as there:
            return await there.detect(pixels)

    assert_same(asyncio.run(in_a_loop()), expected)
    assert len(expected) > 7
    assert expected.image_size == (130, 200)
    assert boxes.rle is None
    file = tmp_path / "large.png"
    Image.fromarray(pixels).save(file)
    words = ("detect", str(file), "--url", server.grpc_url, "--tiles", "64", "--score-thresh", "0", "--json")
    assert call(main, *words) == 0
    assert len(json.loads(capsys.readouterr().out)["names"]) == len(expected)
    assert call(main, "detect", str(file), "--url", server.grpc_url, "--overlap", "9") == 2
    assert "--overlap: got 9 without --tiles" in " ".join(capsys.readouterr().err.split())


@pytest.mark.triton
def test_it_refuses_what_the_server_refuses(server: TritonServer, local: LocalDetector) -> None:
    with Detector(server.grpc_url) as served:
        for data in (standin.picture(1)[:-40], b"\x89PNG\r\n\x1a\n" + bytes(20)):
            with pytest.raises(RefusedImage) as here:
                local.detect(data)
            with pytest.raises(RefusedImage) as there:
                served.detect(data)
            assert str(here.value) in str(there.value)
    with pytest.raises(InvalidImage, match="no such file"):
        local.detect("nowhere.png")


def test_a_bad_image_costs_no_other(local: LocalDetector) -> None:
    outcomes = list(local.try_detect_many([standin.picture(2), b"no image", standin.picture(3)]))
    assert [None if outcome.detections is None else len(outcome.detections) for outcome in outcomes] == [2, None, 3]
    assert isinstance(outcomes[1].error, InvalidImage)


@pytest.mark.parametrize("name", ["masks and keypoints", "keypoints on c5", "boxes on c4"])
def test_every_kind_of_answer(name: str, tmp_path: Path) -> None:
    spec = standin.VARIANTS[name]
    with LocalDetector(standin.write_artifact(tmp_path / "artifact", spec)) as detector:
        found = detector.detect(standin.picture(2))
    assert len(found) == 2
    assert (found.rle is not None) == (spec.mask_head is not None)
    assert (found.keypoints is not None) == (spec.keypoint_head is not None)


def test_a_repository_will_do(repository: Path, local: LocalDetector) -> None:
    before = sorted(path for path in repository.rglob("*") if "__pycache__" not in path.parts)
    with LocalDetector(repository) as detector:
        assert_same(detector.detect(standin.picture(3)), local.detect(standin.picture(3)))
    assert sorted(path for path in repository.rglob("*") if "__pycache__" not in path.parts) == before


def test_threads_and_several_models_share_a_process(local: LocalDetector, tmp_path: Path) -> None:
    other = standin.write_artifact(tmp_path / "other", standin.SPEC, best_score=0.5)
    counts = [1, 4, 2, 3] * 3
    with LocalDetector(other) as second, ThreadPoolExecutor(4) as pool:
        for detector, score in ((local, 0.99), (second, 0.5), (local, 0.99)):
            answers = list(pool.map(lambda count, d=detector: d.detect(standin.picture(count)), counts))
            assert [len(found) for found in answers] == counts
            assert all(found.scores[0] == np.float32(score) for found in answers)


def test_the_process_is_left_as_it_was(artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    if (library := library_path()) is not None:
        monkeypatch.setenv(VARIABLE, str(library))  # which a repository's models do not look at
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    before = (list(sys.path), os.environ.copy(), {name for name in sys.modules if "." not in name})
    with LocalDetector(artifact) as detector:
        detector.detect(standin.picture(1))
        assert [path.name[:15] for path in tmp_path.iterdir()] == ["maskline-local-"]
    assert list(tmp_path.iterdir()) == []
    assert Image.MAX_IMAGE_PIXELS == 12345
    assert (sys.path, os.environ.copy()) == before[:2]
    assert {name for name in sys.modules if "." not in name} == before[2]


def test_a_closed_detector_says_so(artifact: Path) -> None:
    with LocalDetector(artifact) as detector:
        pass
    with pytest.raises(ClientError, match="was closed"):
        detector.detect(standin.picture(1))


def test_calls_under_way_end_before_it_closes(artifact: Path) -> None:
    detector = LocalDetector(artifact)
    pictures = [standin.picture(3)] * 40
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(detector.detect, picture) for picture in pictures]
        while not any(call.done() for call in calls):
            time.sleep(0.001)
        detector.close()
        ended = [call.exception() for call in calls]
    assert any(error is None for error in ended)
    assert all(error is None or "was closed" in str(error) for error in ended), ended


def test_what_it_cannot_open_is_named(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"nowhere: got no such folder, expected an artifact"):
        LocalDetector(tmp_path / "nowhere")
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.json").write_text("{}")
    with pytest.raises(InvalidModel, match=r"got a checkpoint.*`maskline-export onnx .*checkpoint ARTIFACT`"):
        LocalDetector(tmp_path / "checkpoint")
    shutil.copytree(artifact, tmp_path / "around" / "artifact")
    with pytest.raises(InvalidModel, match=r"name .*around/artifact"):
        LocalDetector(tmp_path / "around")
    with pytest.raises(InvalidModel, match=r"is no artifact.*maskline-export onnx"):
        LocalDetector(tmp_path)
    shutil.copytree(artifact, tmp_path / "damaged")
    (tmp_path / "damaged" / "mask.onnx").write_bytes(b"")
    with pytest.raises(InvalidModel, match=r"mask\.onnx"):
        LocalDetector(tmp_path / "damaged")
    assemble(artifact, tmp_path / "repository")
    description = tmp_path / "repository" / FILE
    description.write_text(description.read_text().replace('"engines": {}', '"engines": {"tensorrt": "10.14"}'))
    with pytest.raises(InvalidModel, match="got target tensorrt, whose engines Triton runs"):
        LocalDetector(tmp_path / "repository")
    with pytest.raises(ValueError, match="device: got 'tpu', expected cpu or cuda"):
        LocalDetector(artifact, device="tpu")  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there_is_not_the_cpu_in_silence(artifact: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime knows CUDA")
    with pytest.raises(InvalidModel, match=r"KIND_GPU: got an ONNX Runtime with .*install `maskline\[gpu\]`"):
        LocalDetector(artifact, device="cuda")


def test_without_onnx_runtime_it_says_what_to_install(artifact: Path) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from maskline_client import LocalDetector, InvalidModel\n"
        "try: LocalDetector(sys.argv[1])\n"
        "except InvalidModel as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, artifact], capture_output=True, text=True, check=True)
    assert "onnxruntime" in done.stdout
    assert "pip install 'maskline[local]'" in done.stdout


def test_detect_without_a_server(artifact: Path, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "a.png").write_bytes(standin.picture(2))
    words = (str(tmp_path / "a.png"), "--local", str(artifact), "--out", str(tmp_path / "out"))
    assert call(main, "detect", *words) == 0
    said = capsys.readouterr()
    assert [line.split("\t")[1] for line in said.out.splitlines()[:2]] == list(standin.SPEC.classes[:2])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "detections.json"]
    assert call(main, "detect", str(tmp_path / "a.png"), "--local", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("maskline-client: ")


def test_predict_without_a_server(artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(standin.picture(2))
    words = (str(tmp_path / "photos"), "--local", str(artifact), "--out", str(tmp_path / "out"))
    assert call(main, "predict", *words) == 0
    assert (tmp_path / "out" / "predictions-00000.jsonl").read_text().count("\n") == 1
