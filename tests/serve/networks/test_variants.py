"""Every variant of the paper through the real server, the client and its commands.

The stand-in's variants show with numbers worked out by hand which outputs there are, and their padding. The networks
of tests/support/models/variants.py are served in tests/parity/test_variants.py, which exports them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maskline_client import AsyncDetector, Detections, Detector
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.names import word_of
from maskline_serve.server.triton_server import TritonServer
from maskline_train.checkpoint import load_model
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.paper.four_step import four_step
from maskline_train.spec import ModelSpec
from serve import standin
from serve.conftest import arrays, send
from serve.same_answer import check_served
from serve.test_batches import LANDSCAPE, PORTRAIT, check_row
from serve.test_client import SIZE, run
from support.data.shapes_data import write_shapes
from support.export.kept_traces import kept_traces
from support.models.tiny_recipe import build
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

ALWAYS = {"num_detections", "boxes", "scores", "labels"}


def branches(spec: ModelSpec, masks: str) -> set[str]:
    """The outputs of a model's branches."""
    return ({masks} if spec.mask_head else set()) | ({"keypoints"} if spec.keypoint_head else set())


@pytest.fixture(scope="module", params=standin.VARIANTS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelSpec, str]]:
    """A stand-in's spec and the address of its server."""
    folder, spec = tmp_path_factory.mktemp("known"), standin.VARIANTS[request.param]
    assemble(standin.write_artifact(folder / "artifact", spec), folder / "repository")
    with TritonServer(folder / "repository", drain_s=5) as server:
        yield spec, server.grpc_url


@pytest.fixture
def known(served: tuple[ModelSpec, str]) -> Iterator[tuple[ModelSpec, triton.InferenceServerClient]]:
    """A stand-in's spec and a client of its server."""
    spec, url = served
    with triton.InferenceServerClient(url) as client:
        yield spec, client


def test_none_one_and_all_objects_in_one_batch(known: Any) -> None:
    spec, client = known
    counts = [0, 1, spec.box_head.max_detections, 0]
    for model, masks in (("maskrcnn", "mask_rle"), ("maskrcnn_raw", "masks")):
        answer = send(client, [standin.picture(count, LANDSCAPE) for count in counts], model)
        assert set(answer) == ALWAYS | {"image_size"} | branches(spec, masks)
        for slot, count in enumerate(counts):
            check_row(answer, slot, count, LANDSCAPE)


def test_boxes_alone_are_those_of_the_whole_answer_and_run_no_other_stage(known: Any) -> None:
    _, client = known
    files = [standin.picture(count, size) for count, size in ((0, LANDSCAPE), (3, PORTRAIT), (100, LANDSCAPE))]
    whole, boxes = (send(client, files, model) for model in ("maskrcnn", "maskrcnn_boxes"))
    assert set(boxes) == ALWAYS | {"image_size"}
    for name in boxes:
        np.testing.assert_array_equal(boxes[name], whole[name], err_msg=name)
    steps = client.get_model_config("maskrcnn_boxes").config.ensemble_scheduling.step
    assert [word_of(step.model_name) for step in steps] == ["preprocess", "backbone", "proposal", "postprocess_boxes"]


def test_nobody_in_the_picture(known: Any) -> None:
    """A batch without a single detection: no rows for the branches at all."""
    _, client = known
    answer = send(client, [standin.picture(0, PORTRAIT)])
    check_row(answer, 0, 0, PORTRAIT)


def test_the_engines_answer_in_pixels_of_the_canvas(known: Any) -> None:
    spec, client = known
    canvas = np.full((2, 64, 96, 3), 3, np.uint8)
    info = np.tile(np.array([32, 80, 0.5, 0.25, 64, 320], np.float32), (2, 1))
    inputs = [triton.InferInput("canvas", canvas.shape, "UINT8"), triton.InferInput("image_info", info.shape, "FP32")]
    inputs[0].set_data_from_numpy(canvas)
    inputs[1].set_data_from_numpy(info)
    answer = arrays(client.infer("maskrcnn_engines", inputs))
    assert set(answer) == ALWAYS | branches(spec, "masks")
    for slot in range(2):
        check_row(answer, slot, 3, (32, 80))  # the resized picture, whatever the original was


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
    kinds = {kind for kind, values in json.loads(scores.read_text()).items() if isinstance(values, dict)} - {"model"}
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


@pytest.mark.long
def test_the_joint_model_of_four_step_training_is_served(tmp_path: Path) -> None:
    data = write_shapes(tmp_path / "data", {"train": 4, "val": 2})
    train_set, val_set = CocoDataset(data, "train"), CocoDataset(data, "val")
    recipe = build(train_set.classes)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=3))
    four_step(recipe, train_set, val_set, tmp_path / "run", Processes(0, 1, torch.device("cpu")))
    with kept_traces():
        export_model(load_model(tmp_path / "run" / "last"), "0" * 64, tmp_path / "artifact", "ort")
    assert check_served(tmp_path / "artifact", tmp_path / "repository") > 0
