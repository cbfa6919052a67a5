"""The box head, and detections: the op against a plain loop, ties, empty and padded images."""

import dataclasses

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.model.boxes import clip_to_image, decode_deltas, iou_matrix
from maskline_train.model.heads.box_head import BoxHead, classwise_nms
from maskline_train.spec import BoxHeadSpec

SPEC = BoxHeadSpec(score_thresh=0.1, max_detections=15)
INFO = torch.tensor([[96.0, 128.0, 1, 1, 96, 128], [60.0, 70.0, 1, 1, 60, 70]])


def outputs(seed=0, num_rows=12, num_classes=3):
    """Class logits, deltas and overlapping proposals of two images."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, num_rows, 2, generator=generator) * 30
    sides = torch.rand(2, num_rows, 2, generator=generator) * 30 + 5
    logits = torch.randn(2 * num_rows, num_classes + 1, generator=generator) * 2
    deltas = torch.randn(2 * num_rows, 4 * num_classes, generator=generator)
    return logits, deltas, torch.cat([corners, corners + sides], dim=2)


def by_definition(logits, deltas, proposals, count, info, spec):
    """(score, class, box) of one image, written as loops; the decoder has its own tests."""
    rows, num_classes = logits.shape[0], logits.shape[1] - 1
    kept = []
    for k in range(num_classes):
        members = []
        for row in range(min(rows, count)):
            score = logits[row].softmax(dim=0)[k].item()
            box = decode_deltas(deltas[row, 4 * k : 4 * k + 4], proposals[row], spec.delta_weights)
            box = clip_to_image(box[None], info)[0]
            if score > spec.score_thresh and (box[2:] - box[:2]).min() >= spec.min_side_px:
                members.append((score, row, box))
        boxes = np.array([member[2].tolist() for member in members]).reshape(-1, 4)
        for i in reference.greedy_nms(boxes, [member[0] for member in members], spec.nms_thresh):
            score, row, box = members[i]
            kept.append((-score, row, k, box))
    kept.sort(key=lambda item: item[:3])
    return kept[: spec.max_detections]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("change", [{}, {"nms_thresh": 1.0}, {"score_thresh": 0.0, "nms_thresh": 0.2}])
@pytest.mark.parametrize("counts", [(12, 12), (12, 0), (3, 7)])
def test_detections_are_those_of_the_definition(seed, change, counts):
    spec = dataclasses.replace(SPEC, **change)
    logits, deltas, proposals = outputs(seed)
    boxes, scores, labels, num = classwise_nms(logits, deltas, proposals, torch.tensor(counts), INFO, spec)
    assert (boxes.shape, scores.shape, labels.shape) == ((2, 15, 4), (2, 15), (2, 15))
    for image in range(2):
        rows = slice(12 * image, 12 * image + 12)
        expected = by_definition(logits[rows], deltas[rows], proposals[image], counts[image], INFO[image], spec)
        count = int(num[image])
        assert labels[image, :count].tolist() == [item[2] for item in expected]
        # two ways to write a softmax
        assert torch.allclose(scores[image, :count], torch.tensor([-item[0] for item in expected]), atol=1e-6)
        for found, item in zip(boxes[image, :count], expected, strict=True):
            assert torch.equal(found, item[3])
        assert boxes[image, count:].eq(0).all()
        assert scores[image, count:].eq(0).all()
        assert labels[image, count:].eq(-1).all()


def test_nothing_above_the_threshold_gives_nothing():
    logits, deltas, proposals = outputs()
    logits[:, -1] = 50.0  # all background
    boxes, scores, labels, num = classwise_nms(logits, deltas, proposals, torch.tensor([12, 12]), INFO, SPEC)
    assert num.tolist() == [0, 0]
    assert boxes.eq(0).all()
    assert scores.eq(0).all()
    assert labels.eq(-1).all()


def test_a_score_equal_to_the_threshold_is_not_enough():
    logits = torch.zeros(1, 2)  # one class and the background: exactly one half each
    args = (torch.zeros(1, 4), torch.tensor([[[1.0, 1.0, 9.0, 9.0]]]), torch.tensor([1]), INFO[:1])
    assert classwise_nms(logits, *args, dataclasses.replace(SPEC, score_thresh=0.5))[3].tolist() == [0]
    assert classwise_nms(logits, *args, dataclasses.replace(SPEC, score_thresh=0.4999))[3].tolist() == [1]


def test_equal_scores_keep_the_lower_proposal_then_the_lower_class_first():
    logits = torch.zeros(3, 4)
    proposals = torch.tensor([[[i * 20.0, 0.0, i * 20.0 + 9, 9.0] for i in range(3)]])
    args = (logits, torch.zeros(3, 12), proposals, torch.tensor([3]), INFO[:1])
    boxes, _, labels, num = classwise_nms(*args, dataclasses.replace(SPEC, max_detections=5))
    assert num.tolist() == [5]
    assert list(zip(boxes[0, :, 0].tolist(), labels[0].tolist(), strict=True)) == [
        (0, 0), (0, 1), (0, 2), (20, 0), (20, 1),
    ]  # fmt: skip


def test_classes_do_not_suppress_each_other():
    logits = torch.tensor([[2.0, 2.0, -9.0], [1.0, 1.0, -9.0]])
    proposals = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]]])
    _, _, labels, num = classwise_nms(logits, torch.zeros(2, 8), proposals, torch.tensor([2]), INFO[:1], SPEC)
    assert num.tolist() == [2]
    assert sorted(labels[0, :2].tolist()) == [0, 1]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
def test_properties_of_the_suppression(seed, thresh):
    logits, deltas, proposals = outputs(seed)
    spec = BoxHeadSpec(score_thresh=0.0, nms_thresh=thresh, max_detections=100)
    counts = torch.tensor([12, 12])
    boxes, scores, labels, num = classwise_nms(logits, deltas, proposals, counts, INFO, spec)
    every = classwise_nms(logits, deltas, proposals, counts, INFO, dataclasses.replace(spec, nms_thresh=1.0))
    for image in range(2):
        kept, label, score = (x[image, : num[image]] for x in (boxes, labels, scores))
        assert (score.diff() <= 0).all()
        same = label[:, None] == label[None]
        # 1e-6: one rounding between two ways to compute an overlap
        assert (iou_matrix(kept, kept).fill_diagonal_(0)[same] <= thresh + 1e-6).all()
        for box, s, k in zip(*(column[image, : every[3][image]] for column in every[:3]), strict=True):
            better = kept[(label == k) & (score >= s)]
            assert (iou_matrix(box[None], better) > thresh - 1e-6).any(), "dropped without a better box over it"


def test_the_order_of_proposals_does_not_matter():
    logits, deltas, proposals = outputs(3)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    rows = torch.cat([order, order + 12])
    counts = torch.tensor([12, 12])
    first = classwise_nms(logits, deltas, proposals, counts, INFO, SPEC)
    second = classwise_nms(logits[rows], deltas[rows], proposals[:, order], counts, INFO, SPEC)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)  # scores are distinct


def test_half_precision_outputs_keep_float32_boxes():
    logits, deltas, proposals = outputs()
    boxes, scores, _, _ = classwise_nms(
        logits.half(), deltas.half(), proposals + 1000, torch.tensor([12, 12]), INFO + 2000, SPEC
    )
    assert boxes.dtype == scores.dtype == torch.float32


def test_head_has_one_background_and_four_deltas_a_class():
    head = BoxHead(8, 5, BoxHeadSpec(pooled_side=3, hidden=16))
    logits, deltas = head(torch.randn(7, 8, 3, 3))
    assert (logits.shape, deltas.shape) == ((7, 6), (7, 20))
    logits, deltas = head(torch.randn(0, 8, 3, 3))
    assert (logits.shape, deltas.shape) == ((0, 6), (0, 20))
