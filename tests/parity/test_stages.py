"""Each exported stage against the PyTorch model, on other inputs and other shapes than those it was traced with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from maskline_export.onnx_stages import stage_io
from maskline_train.model.heads.box_head import classwise_nms
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.roi.multiscale import multiscale_roi_align
from support.export.exported import Exported
from support.export.onnx_ops import Array, float32

SHAPES = [(1, 96, 96), (2, 96, 128), (7, 32, 64), (1, 32, 32), (1, 128, 96)]  # B, H, W
# float32 sums of up to 72 products a convolution in another order, through 20 layers, relative to the largest value
RELATIVE = 1e-5
TOLERANCE_PX = 2e-3  # deltas of relative error 1e-6, times anchors of up to 128 px, through an exponential
TOLERANCE_SCORE = 1e-5
OBJECTS = (0, 1, 100)


def run(artifact: Path, stage: str, inputs: Sequence[Array]) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(artifact / f"{stage}.onnx", options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    found: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def pictures(batch: int, height: int, width: int, seed: int = 3) -> tuple[Array, Array]:
    """Canvases of smooth seeded blobs and their image_info, each image of another size."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (batch, height // 8, width // 8, 3), dtype=np.uint8)
    canvas = np.ascontiguousarray(coarse.repeat(8, axis=1).repeat(8, axis=2))
    sizes = [(height - 3 * (image % 4), width - 5 * (image % 3)) for image in range(batch)]
    return canvas, float32([[h, w, 1, 1, h, w] for h, w in sizes])


def backbone_by_torch(model: MaskRCNN, canvas: Array, image_info: Array) -> list[Array]:
    with torch.no_grad():
        features = model.backbone(torch.from_numpy(canvas), torch.from_numpy(image_info))
        logits, deltas = model.rpn_head(features)
    return [tensor.numpy() for tensor in (*features[:4], *logits, *deltas)]


def proposal_by_torch(model: MaskRCNN, inputs: Sequence[Array]) -> list[Array]:
    *maps, image_info = [torch.from_numpy(array) for array in inputs]
    features, logits, deltas = maps[:4], maps[4:9], maps[9:]
    spec = model.spec
    with torch.no_grad():
        proposals, num = model.propose(logits, deltas, image_info)
        pooled = multiscale_roi_align(features, proposals, spec.roi_align, spec.box_head.pooled_side)
        boxes, scores, labels, count = classwise_nms(*model.box_head(pooled), proposals, num, image_info, spec.box_head)
    return [boxes.numpy(), scores.numpy(), labels.numpy(), count.numpy()[:, None]]


def mask_by_torch(model: MaskRCNN, inputs: Sequence[Array]) -> Array:
    """Probabilities [B, D, M, M]."""
    *features, boxes, labels = [torch.from_numpy(array) for array in inputs]
    spec = model.spec
    with torch.no_grad():
        pooled = multiscale_roi_align(features, boxes, spec.roi_align, spec.mask_head.pooled_side)
        logits = model.mask_head(pooled)
        rows = labels.reshape(-1).long()
        chosen = logits[torch.arange(len(rows)), rows.clamp(min=0)]
        masks = torch.where((rows >= 0)[:, None, None], chosen.sigmoid(), torch.zeros(()))
    return masks.reshape(*labels.shape, *masks.shape[1:]).numpy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backbone(exported: Exported, shape: tuple[int, int, int]) -> None:
    canvas, image_info = pictures(*shape)
    found = run(exported.ort, "backbone", [canvas, image_info])
    for array, expected in zip(found, backbone_by_torch(exported.model, canvas, image_info), strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=RELATIVE * np.abs(expected).max())


def test_backbone_ignores_what_lies_outside_the_image(exported: Exported) -> None:
    canvas, image_info = pictures(2, 96, 128)
    image_info[:, :2] = [64, 80]
    filled = canvas.copy()
    filled[:, 64:], filled[:, :, 80:] = 255, 7
    for array, other in zip(
        run(exported.ort, "backbone", [canvas, image_info]),
        run(exported.ort, "backbone", [filled, image_info]),
        strict=True,
    ):
        np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("bodies", ["ort", "dense"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_proposal_and_mask(exported: Exported, bodies: str, shape: tuple[int, int, int]) -> None:
    artifact = getattr(exported, bodies)
    canvas, image_info = pictures(*shape)
    maps = backbone_by_torch(exported.model, canvas, image_info)
    expected = proposal_by_torch(exported.model, [*maps, image_info])
    assert expected[3].min() > 0
    assert_same_detections(run(artifact, "proposal", [*maps, image_info]), expected)
    mask_inputs = [*maps[:4], expected[0], expected[2].astype(np.int32)]
    assert_same_masks(run(artifact, "mask", mask_inputs)[0], mask_by_torch(exported.model, mask_inputs))


def assert_same_detections(found: Sequence[Array], expected: Sequence[Array]) -> None:
    boxes, scores, labels, num = found
    assert (labels.dtype, num.dtype) == (np.int32, np.int32)
    assert num.tolist() == expected[3].tolist()
    np.testing.assert_array_equal(labels, expected[2])
    np.testing.assert_allclose(scores, expected[1], rtol=0, atol=TOLERANCE_SCORE)
    np.testing.assert_allclose(boxes, expected[0], rtol=0, atol=TOLERANCE_PX)


def assert_same_masks(found: Array, expected: Array) -> None:
    assert found.dtype == np.float32
    # as a score: a sigmoid moves by at most a quarter of what its logit does
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE_SCORE)


def slots() -> list[Any]:
    """Batches of 1, 2 and 7 images in which every slot has once 0, once 1 and once 100 objects."""
    pairs = [pytest.param(pair, marks=pytest.mark.long) for pair in itertools.product(OBJECTS, repeat=2)]
    sevens = [tuple(OBJECTS[(slot + turn) % 3] for slot in range(7)) for turn in range(3)]
    return [*((n,) for n in OBJECTS), *pairs, *sevens]


def proposals_of(counts: tuple[int, ...]) -> list[Array]:
    """Inputs of the proposal stage on 96 x 128 canvases with exactly `counts` proposals.

    Features are zero. Every anchor but the wanted ones has a side of zero pixels; those are the smallest squares, 8 px,
    on every second cell of P2, so that none overlaps another.
    """
    sizes = [(math.ceil(96 / s), math.ceil(128 / s)) for s in (4, 8, 16, 32, 64)]
    batch = len(counts)
    features = [float32(np.zeros((batch, 8, h, w))) for h, w in sizes[:4]]
    logits = [float32(np.zeros((batch, 3, h, w))) for h, w in sizes]
    deltas = [float32(np.zeros((batch, 12, h, w))) for h, w in sizes]
    for level in deltas:
        level[:, 2::4] = -100.0
    for image, count in enumerate(counts):
        for index in range(count):
            y, x = 1 + 2 * (index // 12), 1 + 2 * (index % 12)
            logits[0][image, 1, y, x] = 9.0 - 0.01 * index
            deltas[0][image, 6, y, x] = 0.0  # dw of anchor 1, the square
    return [*features, *logits, *deltas, float32([[96, 128, 1, 1, 96, 128]] * batch)]


@pytest.mark.parametrize("bodies", ["ort", "dense"])
@pytest.mark.parametrize("counts", slots(), ids=str)
def test_any_number_of_objects_in_every_slot(exported: Exported, bodies: str, counts: tuple[int, ...]) -> None:
    artifact = getattr(exported, bodies)
    inputs = proposals_of(counts)
    expected = proposal_by_torch(exported.model, inputs)
    assert expected[3][:, 0].tolist() == list(counts)
    found = run(artifact, "proposal", inputs)
    assert_same_detections(found, expected)
    rng = np.random.default_rng(0)
    features = [float32(rng.standard_normal(feature.shape)) for feature in inputs[:4]]
    labels = np.where(found[2] >= 0, rng.integers(0, 3, found[2].shape), -1).astype(np.int32)
    masks = run(artifact, "mask", [*features, found[0], labels])[0]
    assert_same_masks(masks, mask_by_torch(exported.model, [*features, found[0], labels]))
    assert [bool(image.any()) for image in masks] == [count > 0 for count in counts]


def test_masks_of_padding_rows_are_zero_whatever_their_box(exported: Exported) -> None:
    features = [float32(np.ones((1, 8, 96 // s, 128 // s))) for s in (4, 8, 16, 32)]
    boxes = float32(np.tile([10, 10, 60, 60], (1, 100, 1)))
    labels = np.full((1, 100), -1, dtype=np.int32)
    labels[0, 4] = 2
    for artifact in (exported.ort, exported.dense):
        masks = run(artifact, "mask", [*features, boxes, labels])[0]
        assert np.flatnonzero(masks.any(axis=(2, 3))[0]).tolist() == [4]


def test_shapes_are_those_of_the_contract(exported: Exported) -> None:
    spec = exported.model.spec
    sizes = stage_io.sizes(2, 96, 128)
    canvas, image_info = pictures(2, 96, 128)
    maps = run(exported.ort, "backbone", [canvas, image_info])
    contract = (*stage_io.features(spec), *stage_io.rpn_outputs(spec))
    assert [array.shape for array in maps] == [tuple(sizes.get(d, d) for d in tensor.shape) for tensor in contract]
