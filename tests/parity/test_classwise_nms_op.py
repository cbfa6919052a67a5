"""ClasswiseNMS: numpy reference, torch path, and both ONNX bodies against float64 loops."""

import dataclasses

import numpy as np
import pytest
import reference
import torch
from maskline_export.custom_ops import classwise_nms as classwise_nms_op
from maskline_export.custom_ops.classwise_nms import ClasswiseNMS
from maskline_train.model.heads.box_head import classwise_nms
from maskline_train.spec import BoxHeadSpec
from support.export.onnx_ops import Array, float32, run_op

TOLERANCE_PX = 2e-3  # as for proposals: float32 coordinates through an exponential
TOLERANCE_SCORE = 1e-6  # a softmax in float32

BASE = ClasswiseNMS(
    num_classes=3,
    score_thresh=0.1,
    nms_thresh=0.5,
    max_detections=25,
    delta_weights=(10.0, 10.0, 5.0, 5.0),
    min_side=1e-2,
)
Inputs = tuple[Array, Array, Array, Array, Array]


def head_outputs(
    counts: tuple[int, ...], rows: int = 10, classes: int = 3, seed: int = 0, spread: float = 1.0
) -> Inputs:
    """Inputs of the op: `counts` real proposals of `rows` on a 96 x 128 image; padding rows hold rubbish."""
    rng = np.random.default_rng(seed)
    batch = len(counts)
    start = rng.uniform(0, 80, (batch, rows, 2))
    proposals = np.concatenate([start, start + rng.uniform(8, 50, (batch, rows, 2))], axis=-1)
    return (
        float32(2 * rng.standard_normal((batch * rows, classes + 1))),
        float32(spread * rng.standard_normal((batch * rows, 4 * classes))),
        float32(proposals),
        np.array(counts, dtype=np.int32),
        float32([[96, 128, 1, 1, 96, 128]] * batch),
    )


def by_torch(op: ClasswiseNMS, inputs: Inputs) -> list[Array]:
    spec = BoxHeadSpec(
        delta_weights=op.delta_weights,
        score_thresh=op.score_thresh,
        nms_thresh=op.nms_thresh,
        max_detections=op.max_detections,
        min_side_px=op.min_side,
    )
    boxes, scores, labels, num = classwise_nms(*(torch.from_numpy(array) for array in inputs), spec)
    return [boxes.numpy(), scores.numpy(), labels.numpy().astype(np.int32), num.numpy().astype(np.int32)[:, None]]


def all_agree(op: ClasswiseNMS, inputs: Inputs) -> list[int]:
    """Check the four implementations against the loops; the number of detections of each image."""
    expected = reference.classwise_nms(op, *inputs)
    rows = inputs[2].shape[1]
    for name, (boxes, scores, labels, num) in {
        "numpy": [
            getattr(classwise_nms_op.reference(op, *inputs), f) for f in ("boxes", "scores", "labels", "num_detections")
        ],
        "torch": by_torch(op, inputs),
        "ort": run_op(classwise_nms_op.body_ort(op, rows), op, inputs),
        "dense": run_op(classwise_nms_op.body_dense(op, rows), op, inputs),
    }.items():
        assert (labels.dtype, num.dtype) == (np.int32, np.int32), name
        assert boxes.shape == (len(expected), op.max_detections, 4), name
        assert num.tolist() == [[len(found)] for found in expected], name
        for image, found in enumerate(expected):
            count = len(found)
            assert labels[image].tolist() == [entry[1] for entry in found] + [-1] * (op.max_detections - count), name
            np.testing.assert_allclose(scores[image, :count], [e[0] for e in found], atol=TOLERANCE_SCORE, err_msg=name)
            wanted = np.array([entry[2] for entry in found]).reshape(-1, 4)
            np.testing.assert_allclose(boxes[image, :count], wanted, atol=TOLERANCE_PX, rtol=0, err_msg=name)
            assert not boxes[image, count:].any(), name
            assert not scores[image, count:].any(), name
    return [len(found) for found in expected]


@pytest.mark.parametrize("counts", [(10,), (10, 3), (10, 0, 1, 5, 10, 2, 7)], ids=["1", "2", "7"])
def test_batches(counts: tuple[int, ...]) -> None:
    found = all_agree(BASE, head_outputs(counts))
    assert [number == 0 for number in found] == [count == 0 for count in counts]


@pytest.mark.parametrize(
    "change",
    [
        {"score_thresh": 0.4},  # few candidates
        {"score_thresh": 0.0},  # all of them
        {"nms_thresh": 0.05},  # long chains
        {"max_detections": 2},
        {"delta_weights": (1.0, 1.0, 1.0, 1.0)},  # boxes far from their proposals, many cut by the image
        {"delta_weights": (10.0, 5.0, 2.0, 4.0)},  # each weight reaches its own delta
        {"min_side": 40.0},
    ],
    ids=str,
)
def test_every_attribute_counts(change: dict[str, float]) -> None:
    inputs, op = head_outputs((10,)), dataclasses.replace(BASE, **change)
    all_agree(op, inputs)
    assert reference.classwise_nms(op, *inputs) != reference.classwise_nms(BASE, *inputs)


def test_more_rows_than_candidates() -> None:
    """D is larger than R * K."""
    op = dataclasses.replace(BASE, max_detections=50, score_thresh=0.0)
    all_agree(op, head_outputs((4, 2), rows=4))


def test_one_class_and_many_classes() -> None:
    all_agree(dataclasses.replace(BASE, num_classes=1), head_outputs((10, 4), classes=1))
    all_agree(dataclasses.replace(BASE, num_classes=20, score_thresh=0.02), head_outputs((10, 4), classes=20))


def test_no_proposals_and_no_score_above_the_threshold() -> None:
    assert all_agree(BASE, head_outputs((0, 0))) == [0, 0]
    logits, *rest = head_outputs((10, 10))
    logits[:, -1] = 30.0
    assert all_agree(BASE, (logits, *rest)) == [0, 0]


def test_one_detection() -> None:
    logits, *rest = head_outputs((10, 10))
    logits[:] = float32([-9, -9, -9, 9])
    logits[13] = float32([-9, 9, -9, -9])
    assert all_agree(BASE, (logits, *rest)) == [0, 1]


def test_exactly_d_detections_of_disjoint_boxes() -> None:
    """100 boxes of 4 px on a grid, all certain, D = 100 and then D = 99."""
    y, x = np.divmod(np.arange(100), 10)
    proposals = float32(np.stack([8 * x, 8 * y, 8 * x + 4, 8 * y + 4], axis=-1)[None])
    logits = np.tile(float32([9, -9, -9, -9]), (100, 1))
    inputs = (
        logits,
        float32(np.zeros((100, 12))),
        proposals,
        np.array([100], np.int32),
        float32([[96, 96, 1, 1, 1, 1]]),
    )
    assert all_agree(dataclasses.replace(BASE, max_detections=100), inputs) == [100]
    assert all_agree(dataclasses.replace(BASE, max_detections=99), inputs) == [99]


def test_ties_go_to_the_lower_proposal_then_the_lower_class() -> None:
    logits, deltas, *rest = head_outputs((10, 10))
    logits[:] = 0.0
    all_agree(BASE, (logits, deltas, *rest))
    all_agree(dataclasses.replace(BASE, max_detections=100), (np.round(head_outputs((10, 10))[0]), deltas, *rest))


def test_classes_do_not_suppress_each_other() -> None:
    """One box, certain of nothing: every class keeps its own copy."""
    logits, deltas, proposals, _, image_info = head_outputs((1,), spread=0.0)
    logits[0] = float32([1, 1, 1, 0])
    assert all_agree(BASE, (logits, deltas, proposals, np.array([1], np.int32), image_info)) == [3]


def test_more_candidates_than_the_dense_body_looks_at() -> None:
    """R * K above 3840: the dense body is still exact, since D detections are found among the best 3840."""
    op = dataclasses.replace(BASE, num_classes=20, score_thresh=0.0, max_detections=30)
    assert all_agree(op, head_outputs((200,), rows=200, classes=20)) == [30]
