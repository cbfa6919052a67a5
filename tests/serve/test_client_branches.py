"""The client and its commands against the real server of models with and without masks and keypoints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from maskline_client import AsyncDetector, Detections, Detector
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from maskline_train.spec import ModelSpec
from serve import standin
from serve.test_client import SIZE, run

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module", params=standin.VARIANTS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelSpec, str]]:
    """A stand-in's spec and the address of its server."""
    folder, spec = tmp_path_factory.mktemp("branches"), standin.VARIANTS[request.param]
    assemble(standin.write_artifact(folder / "artifact", spec), folder / "repository")
    with TritonServer(folder / "repository", drain_s=5) as server:
        yield spec, server.grpc_url


def check(found: Detections, spec: ModelSpec, count: int) -> None:
    """The stand-in's first objects with what the model has of them; 1e-3 px is float32 rounding of the two scales."""
    assert len(found) == count
    np.testing.assert_allclose(found.boxes, standin.expected_boxes(count, SIZE), atol=1e-3)
    assert (found.rle is None) == (spec.mask_head is None)
    if found.rle is not None:
        for i in range(count):
            np.testing.assert_array_equal(found.mask(i), standin.expected_mask(SIZE, i))
    assert (found.keypoints is None) == (spec.keypoint_head is None)
    if found.keypoints is not None and spec.keypoint_head is not None:
        assert found.keypoint_names == spec.keypoint_head.names
        expected = standin.expected_keypoints(count, SIZE, len(found.keypoint_names))
        np.testing.assert_allclose(found.keypoints, expected, atol=1e-3)


def test_both_clients_read_what_the_model_has(served: tuple[ModelSpec, str]) -> None:
    spec, url = served
    counts = (0, 1, spec.box_head.max_detections)
    files = [standin.picture(count, SIZE) for count in counts]

    async def call() -> list[Detections]:
        async with AsyncDetector(url) as detector:
            return [found async for found in detector.detect_many(files)]

    with Detector(url) as detector:
        for answers in (detector.detect_many(files), asyncio.run(call())):
            for count, found in zip(counts, answers, strict=True):
                check(found, spec, count)
        if spec.keypoint_head is not None:
            assert detector.model.keypoints is not None
            assert detector.model.keypoints.flip_pairs == spec.keypoint_head.flip_pairs


def test_the_commands_show_and_score_what_the_model_has(served: tuple[ModelSpec, str], tmp_path: Path) -> None:
    spec, url = served
    data = write_data(tmp_path / "data", spec)
    health = run("health", "--deep", "--url", url)
    assert health.returncode == 0, health.stdout
    assert ("model mask " in health.stdout) == (spec.mask_head is not None)
    assert ("model keypoint " in health.stdout) == (spec.keypoint_head is not None)

    found = run("detect", data / "val", "--out", tmp_path / "out", "--url", url)
    assert found.returncode == 0, found.stderr
    (first, *_) = json.loads((tmp_path / "out" / "detections.json").read_text())["annotations"]
    assert ("segmentation" in first) == (spec.mask_head is not None)
    assert ("keypoints" in first) == (spec.keypoint_head is not None)

    scores = tmp_path / "ap.json"
    scored = run("evaluate", "--data", data, "--annotations", "person_keypoints", "--json", scores, "--url", url)
    assert scored.returncode == 0, scored.stderr
    kinds = {kind for kind, values in json.loads(scores.read_text()).items() if isinstance(values, dict)}
    assert kinds == {"box"} | ({"mask"} if spec.mask_head else set()) | ({"keypoint"} if spec.keypoint_head else set())
    for kind in kinds:
        assert json.loads(scores.read_text())[kind]["AP"] == pytest.approx(1), kind


def write_data(root: Path, spec: ModelSpec) -> Path:
    """Three pictures with the objects that the stand-in finds in them; keypoints as pixel indices."""
    names = list(spec.keypoint_head.names) if spec.keypoint_head else []
    images, annotations = [], []
    for image_id, count in enumerate((2, 5, 7), 1):
        images.append({"id": image_id, "file_name": f"{image_id}.png", "height": SIZE[0], "width": SIZE[1]})
        path = root / "val" / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(standin.picture(count, SIZE))
        points = standin.expected_keypoints(count, SIZE, len(names)) - [0.5, 0.5, 0]
        points[..., 2] = 2
        for i, (x0, y0, x1, y1) in enumerate(standin.expected_boxes(count, SIZE).tolist()):
            half = (x0 + x1) / 2  # the stand-in's masks are the left halves of the boxes
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": i % len(spec.classes) + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (half - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "segmentation": [[x0, y0, half, y0, half, y1, x0, y1]],
                    "keypoints": points[i].ravel().tolist(),
                    "num_keypoints": len(names),
                }
            )
    categories = [{"id": i, "name": name, "keypoints": names} for i, name in enumerate(spec.classes, 1)]
    (root / "annotations").mkdir()
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (root / "annotations" / "person_keypoints_val.json").write_text(text)
    return root
