"""Every variant of the paper through the real server: the ensemble answers what the artifact's stages answer.

The stand-in's variants show with numbers worked out by hand which outputs there are, and their padding. The networks
of tests/support/models/variants.py are served in tests/parity/test_variants.py, which exports them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maskline_export.onnx_stages.to_onnx import export_model
from maskline_serve.repository.assemble import assemble
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
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A stand-in's spec and a client of its server."""
    folder, spec = tmp_path_factory.mktemp("known"), standin.VARIANTS[request.param]
    assemble(standin.write_artifact(folder / "artifact", spec), folder / "repository")
    with (
        TritonServer(folder / "repository", drain_s=5) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        yield spec, client


def test_none_one_and_all_objects_in_one_batch(known: Any) -> None:
    spec, client = known
    counts = [0, 1, spec.box_head.max_detections, 0]
    for model, masks in (("maskrcnn", "mask_rle"), ("maskrcnn_raw", "masks")):
        answer = send(client, [standin.picture(count, LANDSCAPE) for count in counts], model)
        assert set(answer) == ALWAYS | {"image_size"} | branches(spec, masks)
        for slot, count in enumerate(counts):
            check_row(answer, slot, count, LANDSCAPE)


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
