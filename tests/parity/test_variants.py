"""Every variant of the paper, exported, served and verified: ONNX Runtime finds what the PyTorch model finds."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from maskline_coco.matching import match_boxes
from maskline_export.cli import main
from maskline_export.custom_ops.multiscale_roi_align import needs_plugin
from maskline_export.manifest import load_artifact, sha256
from maskline_export.onnx_stages import stage_io
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify import engines_command
from maskline_export.verify.images import ladder_images
from maskline_export.verify.onnx_runtime import OnnxModel, OnnxPipeline, RawDetections
from maskline_export.verify.rows import features_row, make_rows
from maskline_train.checkpoint import WEIGHTS_FILE, load_model, save_model
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from onnx import numpy_helper
from parity.test_engine_compare import stages as rounding_stages
from parity.test_engine_rtx import build as build_rtx
from PIL import Image
from serve.same_answer import check_served
from support.export.kept_traces import kept_traces
from support.models.small_recipes import few_blocks
from support.models.tiny import tiny_model
from support.models.variants import VARIANTS
from support.processes.in_process import call

TOLERANCE_PX = 2e-3  # as of the baseline's stages, tests/parity/test_stages.py
TOLERANCE_SCORE = 3e-5  # logits of the order of 30, good to 1e-6 of that, through 50 layers
MASK_PROBABILITY = 1e-3  # as of the rows of verify/rows.py
SMALLEST_SHARE = 0.999  # of mask cells so near, of keypoints: two equal peaks may change places
SMALLEST_MATCH = 0.98  # of detections: two of a hundred may win or lose an overlap that lies on the threshold
# RoIPool and RoIWarp jump by a cell where a box's edge is rounded the other way: one box in twenty, on the whole mask.
SMALLEST_SHARE_QUANTISED = 0.9

# Rows of stages that are seen whole alone, as engines are, and of a server.
ELSEWHERE = {"boxes of the box head", "scores of the box head", "placing", "pasting"}

# Exporting is slow, so what has the same nodes with either body is exported once.
CASES = [
    pytest.param(("c4_warp_softmax", "dense"), marks=pytest.mark.long),
    pytest.param(("c5_max_mlp_agnostic", "dense"), marks=pytest.mark.long),
    pytest.param(("c5_pool_mlp_softmax", "dense"), marks=pytest.mark.long),
    pytest.param(("resnext_group_non_local_keypoints", "ort"), marks=pytest.mark.long),
    pytest.param(("resnext_keypoints_alone", "dense"), marks=pytest.mark.long),
    pytest.param(("boxes_alone", "dense"), marks=pytest.mark.long),
    pytest.param(("agnostic_softmax", "ort"), marks=pytest.mark.long),
    pytest.param(("convolutional_heads", "dense"), marks=pytest.mark.long),
    ("pixel_boxes_c4", "ort"),
    pytest.param(("pixel_boxes", "ort"), marks=pytest.mark.long),
    pytest.param(("pixel_boxes", "dense"), marks=pytest.mark.long),
    pytest.param(("dilated_c5", "dense"), marks=pytest.mark.long),
]


def pictures(batch: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth seeded blobs; image 1 ends before its canvas does."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (batch, height // 8, width // 8, 3), dtype=np.uint8)
    canvas = np.ascontiguousarray(coarse.repeat(8, axis=1).repeat(8, axis=2))
    sizes = [(height - 7 * (image % 2), width - 9 * (image % 2)) for image in range(batch)]
    return canvas, np.array([[h, w, 1, 1, h, w] for h, w in sizes], dtype=np.float32)


@pytest.fixture(scope="module", autouse=True)
def _fewer_blocks() -> Iterator[None]:
    """A stage's further blocks are the same again, and half of what is traced."""
    with pytest.MonkeyPatch.context() as patch:
        few_blocks(patch)
        yield


def settled(model: MaskRCNN) -> MaskRCNN:
    """The model with norms that have seen pictures, so that random weights neither vanish nor explode."""
    canvas, info = pictures(2, 96, 128)
    model.train()
    with torch.no_grad():
        for _ in range(10):
            model.backbone(torch.from_numpy(canvas), torch.from_numpy(info))
    return model.eval()


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, its checkpoint and its artifact."""

    model: MaskRCNN
    checkpoint: Path
    artifact: Path


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join(case))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Each is exported once."""
    name, bodies = request.param
    model = settled(tiny_model(VARIANTS[name]))
    # Changes no score. Biases that are all zero, or one as the scales of a group norm, share a tensor in the file, and
    # a test wants to change this one.
    torch.nn.init.constant_(model.box_head.class_logits.bias, 0.5)
    if model.backbone.body.non_local is not None:  # its last layer is zero at first: nothing of it would be seen
        torch.nn.init.normal_(model.backbone.body.non_local.out.weight, std=0.01)
    folder = tmp_path_factory.mktemp(name)
    save_model(folder / "checkpoint", model)
    with kept_traces():
        export_checkpoint(folder / "checkpoint", folder / "artifact", bodies)
    return Case(model, folder / "checkpoint", folder / "artifact")


def test_a_variant_finds_in_onnx_what_it_finds_in_torch(case: Case) -> None:
    model, spec = case.model, case.model.spec
    manifest = load_artifact(case.artifact)
    assert manifest.spec == spec
    assert tuple(manifest.stages) == stage_io.stage_names(spec)
    assert ("mask" in manifest.stages, "keypoint" in manifest.stages) == (
        spec.mask_head is not None,
        spec.keypoint_head is not None,
    )
    chain = OnnxPipeline(case.artifact, threads=1)
    total = 0
    for batch, height, width in ((2, 96, 128), (1, 64, 32)):
        canvas, info = pictures(batch, height, width)
        ours = model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
        theirs = chain.detect(canvas, info)
        quantised = spec.roi_align.mode in ("pool", "warp")
        total += sum(compare_image(ours, theirs, image, quantised, spec.pixel_boxes) for image in range(batch))
    assert total > 10  # or nothing was compared


@pytest.mark.triton
def test_a_variant_answers_through_the_server_what_its_stages_answer(case: Case, tmp_path: Path) -> None:
    assert check_served(case.artifact, tmp_path / "repository") > 10  # or nothing was compared


@pytest.fixture
def dense(case: Case) -> Case:
    """What engines are built of."""
    if load_artifact(case.artifact).bodies != "dense":
        pytest.skip("engines are built of dense bodies, and each variant has them in one case at most")
    return case


@pytest.mark.long
def test_fp16_stages_of_a_variant_agree_within_the_limits_of_engines(dense: Case, tmp_path: Path) -> None:
    type_artifact(dense.artifact, tmp_path / "fp16", "fp16", None)
    rows = engines_command.compare(dense.artifact, rounding_stages(tmp_path / "fp16"), "fp16", 2)
    assert [row.stage for row in rows if not row.ok] == [], rows
    assert {row.stage: row for row in rows}["features"].max_error > 0


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="the package tensorrt-rtx-cu13 is not installed"
)
def test_the_stages_of_a_variant_become_engines(dense: Case, tmp_path: Path) -> None:
    if needs_plugin(dense.model.spec.roi_align):
        pytest.skip("RoIAlign of this variant is built by our plugin alone, which TensorRT for RTX does not take")
    engines = build_rtx(dense.artifact, tmp_path / "out", "--precision", "fp16", "--profile", "1:1:2@96x128")
    assert list(engines.stages) == list(stage_io.stage_names(dense.model.spec))


def compare_image(
    ours: Detections, theirs: RawDetections, image: int, quantised: bool, pixel_boxes: bool = False
) -> int:
    """Pair the detections of an image (random weights give many equal scores, so order says little), compare each."""
    count = int(ours.num_detections[image])
    assert int(theirs.num_detections[image, 0]) == count
    boxes, others = ours.boxes[image, :count].numpy(), theirs.boxes[image, :count]
    same_class = ours.labels[image, :count].numpy()[:, None] == theirs.labels[image, :count][None]
    partner = match_boxes(boxes, others, same_class, min_iou=0.99, pixel_boxes=pixel_boxes)
    near = np.abs(others[np.maximum(partner, 0)] - boxes).max(axis=1, initial=0.0) <= TOLERANCE_PX
    rows = np.flatnonzero((partner >= 0) & near)
    assert len(rows) >= (SMALLEST_SHARE_QUANTISED if quantised else SMALLEST_MATCH) * count
    chosen = partner[rows]
    scores = ours.scores[image].numpy()[rows]
    np.testing.assert_allclose(theirs.scores[image, chosen], scores, atol=TOLERANCE_SCORE, rtol=0)
    assert (theirs.masks is None) == (ours.masks is None)
    if ours.masks is not None and theirs.masks is not None and count:
        apart = np.abs(theirs.masks[image, chosen] - ours.masks[image].numpy()[rows])
        assert (apart <= MASK_PROBABILITY).mean() >= (SMALLEST_SHARE_QUANTISED if quantised else SMALLEST_SHARE)
        assert not theirs.masks[image, count:].any()
    assert (theirs.keypoints is None) == (ours.keypoints is None)
    if ours.keypoints is not None and theirs.keypoints is not None and count:
        points = ours.keypoints[image].numpy()[rows]
        same = np.isclose(theirs.keypoints[image, chosen], points, atol=TOLERANCE_PX, rtol=0).all(axis=2)
        assert same.mean() >= SMALLEST_SHARE
        assert not theirs.keypoints[image, count:].any()
    return count


def test_p6_is_read_from_where_the_spec_has_its_anchors(case: Case) -> None:
    """Random weights put no box of P6 among the best: logits are lifted there, on canvases that 64 does not divide."""
    model, spec = case.model, case.model.spec
    if not spec.anchors.stride_of_cells:
        pytest.skip("the anchors of this variant are a level's stride apart")
    stage = OnnxModel(case.artifact / "proposal.onnx", threads=1)
    for height, width in ((96, 160), (160, 224)):
        canvas, info = pictures(2, height, width)
        with torch.no_grad():
            features = model.backbone(torch.from_numpy(canvas), torch.from_numpy(info))
            logits, deltas = model.rpn_head(features)
            logits[-1] += 100.0
            proposals = model.propose(logits, deltas, torch.from_numpy(info))
            ours = model.detect_in(features, *proposals, torch.from_numpy(info), masks=False)
        names = [tensor.name for tensor in stage_io.features(spec) + stage_io.rpn_outputs(spec)]
        tensors = {name: x.numpy() for name, x in zip(names, [*features[:4], *logits, *deltas], strict=True)}
        theirs = RawDetections(**stage.run(tensors | {"image_info": info}))
        assert sum(compare_image(ours, theirs, image, quantised=False) for image in range(2)) > 10


def test_verify_agrees_with_a_variant(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = verified(case.checkpoint, case.artifact, tmp_path)
    assert status == 0
    assert "Every stage agrees on 7 images" in " ".join(capsys.readouterr().out.split())
    assert [row["stage"] for row in report["rows"]] == [
        row for row in make_rows(case.model.spec) if row not in ELSEWHERE
    ]
    assert report["detections"] > 50  # or nothing was compared


def test_verify_names_the_stage_of_a_variant_that_was_changed(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        "backbone": features_row(case.model.spec),
        "proposal": "class logits",
        "mask": "mask probabilities",
        "keypoint": "keypoints",
    }
    for stage in load_artifact(case.artifact).stages:
        row = rows[stage]
        artifact = with_tensor(case.artifact, tmp_path / stage, stage, "", first_half_more)
        status, report = verified(case.checkpoint, artifact, tmp_path, picture(tmp_path))
        assert (status, report["first_deviation"]) == (1, row)
        assert f"CPU, bodies: first stage that deviates: {row}: max error" in capsys.readouterr().err


def test_verify_agrees_where_nothing_is_found(case: Case, tmp_path: Path) -> None:
    """Both sides take every RoI for background."""

    def background(values: np.ndarray) -> np.ndarray:
        return np.where(np.arange(len(values)) == len(values) - 1, np.float32(1e4), values)

    model = load_model(case.checkpoint)
    bias = model.box_head.class_logits.bias
    bias.data = torch.from_numpy(background(bias.detach().numpy()))
    save_model(tmp_path / "checkpoint", model)
    artifact = with_tensor(case.artifact, tmp_path / "artifact", "proposal", "class_logits.bias", background)
    weights = sha256(tmp_path / "checkpoint" / WEIGHTS_FILE)
    dataclasses.replace(load_artifact(artifact), checkpoint_sha256=weights).save(artifact)
    status, report = verified(tmp_path / "checkpoint", artifact, tmp_path, picture(tmp_path))
    assert (status, report["detections"]) == (0, 0)


def verified(checkpoint: Path, artifact: Path, folder: Path, *images: Path) -> tuple[int, dict[str, Any]]:
    """Exit status and report of the command, on these images or its own."""
    words = [word for image in images for word in ("--images", str(image))]
    status = call(main, "verify", str(checkpoint), str(artifact), *words, "--json", str(folder / "parity.json"))
    return status, json.loads((folder / "parity.json").read_text())


def picture(folder: Path) -> Path:
    """One image file: enough where a change has to be seen, and a seventh of the time."""
    _, pixels = next(ladder_images(96))
    Image.fromarray(pixels).save(folder / "picture.png")
    return folder / "picture.png"


def first_half_more(values: np.ndarray) -> np.ndarray:
    """Not all of them: a softmax does not feel what all its channels get."""
    changed = values.flatten()
    changed[: (changed.size + 1) // 2] += 0.5 * max(1.0, float(np.abs(values).max()))
    return changed.reshape(values.shape)


def with_tensor(artifact: Path, out: Path, stage: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """A copy of the artifact, true to its manifest, in which a tensor is another: the largest whose name ends so."""
    shutil.copytree(artifact, out)
    manifest = load_artifact(out)
    model = onnx.load(out / f"{stage}.onnx")
    floats = (t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and t.name.endswith(name))
    tensor = max(floats, key=lambda t: math.prod(t.dims))
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
    onnx.save(model, out / f"{stage}.onnx")
    changed = dataclasses.replace(manifest.stages[stage], sha256=sha256(out / f"{stage}.onnx"))
    dataclasses.replace(manifest, stages={**manifest.stages, stage: changed}).save(out)
    return out
