"""ClasswiseNMS against torchvision, ONNX Runtime and the numpy reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tolerances
import torch
from maskline_export.custom_ops import classwise_nms as exported
from maskline_host.classwise_nms import ClasswiseNMS
from nms_runner import head_outputs, image_info, run_classwise_nms, same_bytes, softmax
from support.export.onnx_ops import run_op
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, nms

BASE = ClasswiseNMS(
    num_classes=3,
    score_thresh=0.1,
    nms_thresh=0.5,
    max_detections=25,
    delta_weights=(10.0, 10.0, 5.0, 5.0),
    min_side=1e-2,
)


def test_no_cap_on_candidates_changes_the_result() -> None:
    """20 000 candidates, of which the best 4096 leave fewer than D: the rest is looked at too."""
    classes, rows = 20, 1000
    logits, deltas, proposals, counts, info = head_outputs((rows,), rows, classes, spread=0.0, logit_spread=0.5)
    proposals[0, :900] = [10, 10, 60, 60]  # 18 000 candidates of 20 boxes, the best ones
    proposals[0, 900:, 2:] = proposals[0, 900:, :2] + 8
    logits[900:] = np.minimum(logits[900:], 0) / 10  # certain of nothing
    logits[:900, :classes] += 3
    op = dataclasses.replace(BASE, num_classes=classes, score_thresh=1e-4, max_detections=300)
    inputs = (logits, deltas, proposals, counts, info)
    found = run_classwise_nms("host-avx512", op, inputs)
    everything = exported.reference(exported_op(op), *inputs)
    assert found.num_detections.tolist() == everything.num_detections.tolist() == [[300]]
    assert found.labels.tolist() == everything.labels.tolist()
    capped = np.sort(softmax(logits)[:, :classes].ravel())[-4096]
    assert found.scores[0, 20] < capped < found.scores[0, 19]
    assert same_bytes(found, run_classwise_nms("simt", op, inputs))


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_onnx_runtime_on_both_bodies_and_with_numpy(seed: int) -> None:
    inputs, op = head_outputs((50, 20), 50, 3, seed=seed), exported_op(BASE)
    found = run_classwise_nms("host-avx512", BASE, inputs)
    outputs = [run_op(body, op, inputs) for body in (exported.body_ort(op, 50), exported.body_dense(op, 50))]
    outputs.append(list(vars(exported.reference(op, *inputs)).values()))
    for boxes, scores, labels, num in outputs:
        assert found.num_detections.tolist() == num.tolist()
        assert found.labels.tolist() == labels.tolist()
        np.testing.assert_allclose(found.scores, scores, atol=tolerances.SCORES, rtol=0)
        np.testing.assert_allclose(found.boxes, boxes, atol=tolerances.BOXES_PX, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_torchvision_box_head(seed: int) -> None:
    """RoIHeads.postprocess_detections, which has the background first; boxes of class 0 are not used."""
    op = dataclasses.replace(BASE, num_classes=20, score_thresh=0.05, max_detections=100)
    logits, deltas, proposals, counts, info = head_outputs((100, 100), 100, 20, seed=seed)
    found = run_classwise_nms("host-avx512", op, (logits, deltas, proposals, counts, info))
    heads = RoIHeads(None, None, None, 0.5, 0.5, 1, 0.5, op.delta_weights, 0.05, op.nms_thresh, op.max_detections)
    permuted = np.roll(logits, 1, axis=1), np.concatenate([np.zeros((200, 4), np.float32), deltas], axis=1)
    given = [torch.from_numpy(boxes) for boxes in proposals]
    shapes = [(int(height), int(width)) for height, width in info[:, :2]]
    boxes, scores, labels = heads.postprocess_detections(*map(torch.from_numpy, permuted), given, shapes)
    for image in range(2):
        count = int(found.num_detections[image, 0])
        assert count == len(boxes[image])
        assert found.labels[image, :count].tolist() == (labels[image] - 1).tolist()
        np.testing.assert_allclose(found.scores[image, :count], scores[image], atol=tolerances.SCORES, rtol=0)
        np.testing.assert_allclose(found.boxes[image, :count], boxes[image], atol=tolerances.BOXES_PX, rtol=0)


@pytest.mark.parametrize("where", ["host-generic", "host-avx512", "simt"])
@pytest.mark.parametrize("classes", [1, 7])
def test_agrees_with_torchvision_nms_and_batched_nms(where: str, classes: int) -> None:
    """Boxes as they are (deltas of zero), one class a box, scores far enough apart that a softmax keeps their order."""
    rows = 300
    rng = np.random.default_rng(classes)
    _, deltas, proposals, counts, _ = head_outputs((rows,), rows, classes, spread=0.0)
    labels = rng.integers(0, classes, rows)
    logits = np.full((rows, classes + 1), -30, np.float32)
    logits[:, -1] = 0.0
    logits[np.arange(rows), labels] = rng.permutation(np.linspace(-2, 4, rows))
    op = dataclasses.replace(BASE, num_classes=classes, max_detections=rows, score_thresh=1e-6)
    info = image_info((200, 200))
    found = run_classwise_nms(where, op, (logits, deltas, proposals, counts, info))
    boxes, scores = torch.from_numpy(proposals[0]), torch.from_numpy(softmax(logits)[np.arange(rows), labels]).float()
    kept = batched_nms(boxes, scores, torch.from_numpy(labels), op.nms_thresh)
    if classes == 1:
        assert kept.tolist() == nms(boxes, scores, op.nms_thresh).tolist()
    count = int(found.num_detections[0, 0])
    assert found.labels[0, :count].tolist() == labels[kept].tolist()
    np.testing.assert_allclose(found.boxes[0, :count], boxes[kept], atol=tolerances.BOXES_PX, rtol=0)


def exported_op(op: ClasswiseNMS) -> exported.ClasswiseNMS:
    return exported.ClasswiseNMS(**dataclasses.asdict(op))
