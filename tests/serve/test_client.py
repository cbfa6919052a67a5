"""The client library and its commands against the real Triton server with the stand-in model."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from maskline_client import (
    AsyncDetector,
    DeadlineExceeded,
    Detections,
    Detector,
    InvalidImage,
    ServerUnavailable,
)
from maskline_client.cli import main
from maskline_serve.server.triton_server import TritonServer
from PIL import Image
from serve import standin
from support.processes import in_process

pytestmark = pytest.mark.triton

SIZE = (40, 60)  # multiples of 20, so that the stand-in's masks are whole pixels


@pytest.fixture
def detector(server: TritonServer) -> Detector:
    with Detector(server.grpc_url) as connected:
        yield connected


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process: starting Python with all it imports takes a second, and much more under load."""
    words = list(map(str, arguments))
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = in_process.call(main, *words)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def assert_finds(found: Detections, count: int, size: tuple[int, int] = SIZE) -> None:
    """Boxes, scores, names and masks of the stand-in's first `count` objects."""
    assert len(found) == count
    assert found.image_size == size
    np.testing.assert_allclose(found.boxes, standin.expected_boxes(count, size), atol=1e-3)  # float32 px
    np.testing.assert_allclose(found.scores, 0.99 - 0.005 * np.arange(count), atol=1e-6)  # float32
    assert found.names == tuple(standin.SPEC.classes[i % 3] for i in range(count))
    for i in range(count):
        np.testing.assert_array_equal(found.mask(i), standin.expected_mask(size, i))


def test_class_names_come_from_the_server(detector: Detector) -> None:
    assert detector.classes == standin.SPEC.classes


@pytest.mark.parametrize("count", [0, 1, 100])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_every_kind_of_file_is_answered_the_same(detector: Detector, count: int, image_format: str) -> None:
    assert_finds(detector.detect(standin.picture(count, SIZE, image_format)), count)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "array", "gray", "pillow"])
def test_every_kind_of_source_is_answered_the_same(detector: Detector, tmp_path: Path, kind: str) -> None:
    data = standin.picture(7, SIZE)
    path = tmp_path / "seven.png"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))
    array = np.asarray(image)
    sources = {"path": path, "text": str(path), "bytes": data, "array": array, "gray": array[..., 0], "pillow": image}
    assert_finds(detector.detect(sources[kind]), 7)


def test_an_exif_rotated_pillow_image_is_answered_upright(detector: Detector) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.open(io.BytesIO(standin.picture(4, SIZE))).save(file, "JPEG", exif=exif)
    assert_finds(detector.detect(file.getvalue()), 4, SIZE[::-1])
    assert_finds(detector.detect(Image.open(file)), 4, SIZE[::-1])


def test_many_images_keep_their_order_landscape_and_portrait_mixed(detector: Detector) -> None:
    counts = [0, 5, 100, 1, 7, 33, 2, 64, 9, 0, 100, 3]
    sizes = [SIZE if i % 2 else SIZE[::-1] for i in range(len(counts))]
    images = [standin.picture(count, size) for count, size in zip(counts, sizes, strict=True)]
    answers = list(detector.detect_many(images, in_flight=4))
    for found, count, size in zip(answers, counts, sizes, strict=True):
        assert_finds(found, count, size)


def test_a_truncated_image_fails_alone_with_the_servers_reason(detector: Detector) -> None:
    good = standin.picture(2, SIZE)
    outcomes = list(detector.try_detect_many([good, good[:40], good]))
    assert_finds(outcomes[0].unwrap(), 2)
    assert_finds(outcomes[2].unwrap(), 2)
    assert isinstance(outcomes[1].error, InvalidImage)
    assert "refused the image" in str(outcomes[1].error)


def test_asyncio_gives_the_same_answers(server: TritonServer) -> None:
    async def call() -> list[Detections]:
        async with AsyncDetector(server.grpc_url) as detector:
            assert await detector.classes() == standin.SPEC.classes
            return [found async for found in detector.detect_many([standin.picture(i, SIZE) for i in (3, 0, 50)], 2)]

    for found, count in zip(asyncio.run(call()), (3, 0, 50), strict=True):
        assert_finds(found, count)


def test_a_deadline_too_short_for_a_large_image_is_told(server: TritonServer) -> None:
    large = standin.picture(1, (3000, 4000))
    with Detector(server.grpc_url, deadline_s=20) as detector:
        assert detector.classes
        with Detector(server.grpc_url, deadline_s=0.02) as hasty:
            hasty._classes = detector.classes  # the contract check is not what this deadline is for
            with pytest.raises(DeadlineExceeded, match=r"within 0\.02 s"):
                hasty.detect(large)
        assert_finds(detector.detect(standin.picture(1, SIZE)), 1)  # the server serves on


def test_health_deep_says_ok_for_each_part(server: TritonServer) -> None:
    result = run("health", "--deep", "--url", server.grpc_url, "--deadline", 60)
    assert result.returncode == 0, result.stdout + result.stderr
    for part in ("live", "ready", "model backbone", "model maskrcnn_raw", "contract maskrcnn", "canary"):
        assert part in result.stdout
    assert "no" not in [line.split("│")[1].strip() for line in result.stdout.splitlines() if line.startswith("│")]


def test_detect_on_a_folder_draws_and_writes_what_the_library_finds(server: TritonServer, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for count in (0, 4):
        (photos / f"{count}.png").write_bytes(standin.picture(count, SIZE))
    (photos / "torn.jpg").write_bytes(standin.picture(4, SIZE, "JPEG")[:100])
    result = run("detect", photos, "--out", out, "--url", server.grpc_url, "--score-thresh", 0.98)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "torn.jpg" in result.stderr
    data = json.loads((out / "detections.json").read_text())
    assert [a["score"] for a in data["annotations"]] == pytest.approx([0.99, 0.985, 0.98], abs=1e-6)
    assert {p.name for p in out.iterdir()} == {"0.png", "4.png", "detections.json"}
    drawn = np.asarray(Image.open(out / "4.png"))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 10  # three colours and their labels on a flat picture


def test_predict_resumes_after_a_torn_line(server: TritonServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for count in range(5):
        (tmp_path / "in" / f"{count}.png").write_bytes(standin.picture(count, SIZE))
    arguments = ("predict", tmp_path / "in", "--out", tmp_path / "out", "--url", server.grpc_url)
    assert "5 images predicted" in run(*arguments).stdout
    (shard,) = (tmp_path / "out").glob("*.jsonl")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-30])
    assert "1 images predicted, 0 refused, 4 were done before" in run(*arguments).stdout
    assert shard.read_bytes() == whole


def test_a_server_killed_in_mid_request_is_a_clear_error_within_the_deadline(repository: Path) -> None:
    large = standin.picture(1, (3000, 4000))
    with TritonServer(repository, drain_s=5) as doomed, Detector(doomed.grpc_url, deadline_s=30) as detector:
        outcomes = detector.try_detect_many(iter([standin.picture(1, SIZE), *[large] * 6]), in_flight=3)
        assert_finds(next(outcomes).unwrap(), 1)
        children = Path(f"/proc/{doomed.pid}/task/{doomed.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGKILL)
        start = time.monotonic()
        rest = list(outcomes)
        assert time.monotonic() - start < 30
    assert isinstance(rest[-1].error, ServerUnavailable)
