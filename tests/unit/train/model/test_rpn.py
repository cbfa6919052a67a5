"""Proposals: the op against a plain loop, ties, empty and padded images."""

import dataclasses

import pytest
import reference
import torch
from maskline_train.model.anchors import flatten_deltas, flatten_logits, pyramid_anchors
from maskline_train.model.backbone.backbone import STRIDES
from maskline_train.model.boxes import clip_to_image, decode_deltas, iou_matrix
from maskline_train.model.proposals import top_indices
from maskline_train.model.rpn import RPNHead, proposal_nms
from maskline_train.spec import AnchorSpec, ProposalSpec, RPNHeadSpec

ANCHORS = AnchorSpec(sizes_px=(8.0, 16.0, 32.0, 64.0, 96.0))
SPEC = ProposalSpec(pre_nms_per_level=20, max_proposals=30)
INFO = torch.tensor([[96.0, 128.0, 1, 1, 96, 128], [60.0, 70.0, 1, 1, 60, 70]])


def outputs(seed=0, batch=2, size=(96, 128), scale=0.5):
    generator = torch.Generator().manual_seed(seed)
    cells = [(-(-size[0] // s), -(-size[1] // s)) for s in STRIDES]
    logits = [torch.randn(batch, 3, *hw, generator=generator) for hw in cells]
    deltas = [torch.randn(batch, 12, *hw, generator=generator) * scale for hw in cells]
    return logits, deltas


def by_definition(logits, deltas, image_info, image, spec):
    """Per-level top-k, NMS by the oracle, joint top-k; boxes by our own decoder, which has its own tests."""
    kept = []
    for level, (scores, offsets, anchors) in enumerate(
        zip(logits, deltas, pyramid_anchors(logits, ANCHORS), strict=True)
    ):
        num_anchors, height, width = scores.shape[1:]
        flat = [
            (scores[image, a, y, x].item(), offsets[image, 4 * a : 4 * a + 4, y, x])
            for y in range(height)
            for x in range(width)
            for a in range(num_anchors)
        ]
        order = sorted(range(len(flat)), key=lambda i: (-flat[i][0], i))[: spec.pre_nms_per_level]
        boxes = torch.stack([decode_deltas(flat[i][1], anchors[i]) for i in order])
        boxes = clip_to_image(boxes, image_info[image])
        large = ((boxes[:, 2:] - boxes[:, :2]) >= spec.min_side_px).all(dim=1)
        boxes, best = boxes[large], [flat[i][0] for i, keep in zip(order, large.tolist(), strict=True) if keep]
        rows = reference.greedy_nms(boxes.numpy(), best, spec.nms_thresh)
        kept += [(-best[row], level, row, boxes[row]) for row in rows]
    kept.sort(key=lambda item: item[:3])
    return torch.stack([item[3] for item in kept[: spec.max_proposals]])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("thresh", [0.3, 0.7, 1.0])
def test_proposals_are_those_of_the_definition(seed, thresh):
    logits, deltas = outputs(seed)
    spec = dataclasses.replace(SPEC, nms_thresh=thresh)
    proposals, counts = proposal_nms(logits, deltas, INFO, ANCHORS, spec)
    assert proposals.shape == (2, 30, 4)
    assert counts.dtype == torch.int64
    for image in range(2):
        expected = by_definition(logits, deltas, INFO, image, spec)
        assert counts[image] == len(expected)
        assert torch.equal(proposals[image, : len(expected)], expected)


def test_proposals_stay_inside_the_image_and_padding_rows_are_zero():
    logits, deltas = outputs(scale=3.0)
    spec = dataclasses.replace(SPEC, max_proposals=500)
    proposals, counts = proposal_nms(logits, deltas, INFO, ANCHORS, spec)
    for image in range(2):
        real = proposals[image, : counts[image]]
        assert real.min() >= 0
        assert (real[:, 2] <= INFO[image, 1]).all()
        assert (real[:, 3] <= INFO[image, 0]).all()
        assert ((real[:, 2:] - real[:, :2]) >= spec.min_side_px).all()
        assert counts[image] < 500
        assert proposals[image, counts[image] :].eq(0).all()


def test_an_image_does_not_depend_on_its_neighbours():
    logits, deltas = outputs()
    together, counts = proposal_nms(logits, deltas, INFO, ANCHORS, SPEC)
    for image in range(2):
        part = slice(image, image + 1)
        alone, count = proposal_nms([x[part] for x in logits], [x[part] for x in deltas], INFO[part], ANCHORS, SPEC)
        assert torch.equal(alone[0], together[image])
        assert count[0] == counts[image]


def test_equal_logits_keep_the_lower_level_and_index_first():
    logits, deltas = outputs()
    logits, deltas = [torch.zeros_like(x) for x in logits], [torch.zeros_like(x) for x in deltas]
    spec = ProposalSpec(pre_nms_per_level=4, max_proposals=10, nms_thresh=1.0)
    proposals, counts = proposal_nms(logits, deltas, INFO, ANCHORS, spec)
    first = [clip_to_image(level[:4], INFO[0]) for level in pyramid_anchors(logits, ANCHORS)]
    assert counts.tolist() == [10, 10]
    assert torch.equal(proposals[0], torch.cat(first)[:10])


def test_levels_do_not_suppress_each_other():
    logits, deltas = outputs()
    spec = dataclasses.replace(SPEC, nms_thresh=0.01)
    sizes = AnchorSpec(sizes_px=(32.0,) * 5, aspect_ratios=(1.0,))
    logits = [torch.full_like(x[:, :1], -9.0) for x in logits]
    for level in logits:
        level[:, 0, 0, 0] = 9.0  # the very same anchor on every level: that of the top left cell
    proposals, _ = proposal_nms(logits, [torch.zeros_like(x[:, :4]) for x in deltas], INFO, sizes, spec)
    assert proposals[0, :5].tolist() == [[0, 0, 16, 16]] * 5


def test_there_is_no_score_cut_unless_asked_for():
    logits, deltas = outputs()
    low, counts = proposal_nms([x - 100 for x in logits], deltas, INFO, ANCHORS, SPEC)
    assert torch.allclose(low, proposal_nms(logits, deltas, INFO, ANCHORS, SPEC)[0])
    assert counts.tolist() == [30, 30]


def test_nothing_is_left_of_an_image_without_pixels():
    logits, deltas = outputs()
    proposals, counts = proposal_nms(logits, deltas, torch.zeros(2, 6), ANCHORS, SPEC)
    assert counts.tolist() == [0, 0]
    assert proposals.eq(0).all()


def test_a_diverged_network_gives_no_proposals_instead_of_an_error():
    logits, deltas = outputs()
    broken = [torch.full_like(x, float("nan")) for x in deltas]
    assert proposal_nms(logits, broken, INFO, ANCHORS, SPEC)[1].tolist() == [0, 0]
    proposal_nms([torch.full_like(x, float("nan")) for x in logits], broken, INFO, ANCHORS, SPEC)


def test_kept_boxes_overlap_at_most_by_the_threshold_and_dropped_ones_more():
    logits, deltas = outputs(seed=5)
    for level in (0, 2, 3, 4):
        deltas[level][:, 0::4] = 1e4  # far to the right of the image: only level 1 is left
    spec = ProposalSpec(pre_nms_per_level=200, max_proposals=200, nms_thresh=0.4)
    proposals, counts = proposal_nms(logits, deltas, INFO, ANCHORS, spec)
    kept = proposals[0, : counts[0]]
    everything = proposal_nms(logits, deltas, INFO, ANCHORS, dataclasses.replace(spec, nms_thresh=1.0))
    candidates = everything[0][0, : everything[1][0]]
    overlaps = iou_matrix(kept, kept).fill_diagonal_(0)
    assert 20 < len(kept) < len(candidates)
    assert overlaps.max() <= 0.4 + 1e-6  # one rounding between two ways to compute an overlap
    dropped = candidates[iou_matrix(candidates, kept).max(dim=1).values < 1]
    assert (iou_matrix(dropped, kept).max(dim=1).values > 0.4 - 1e-6).all()


def test_flattening_follows_the_channel_order_of_the_contract():
    logits = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    deltas = torch.arange(2 * 12 * 4 * 5.0).reshape(2, 12, 4, 5)
    flat_logits, flat_deltas = flatten_logits(logits), flatten_deltas(deltas)
    for y, x, a in ((0, 0, 0), (3, 4, 2), (1, 2, 1)):
        index = (y * 5 + x) * 3 + a
        assert flat_logits[1, index] == logits[1, a, y, x]
        assert torch.equal(flat_deltas[1, index], deltas[1, 4 * a : 4 * a + 4, y, x])


@pytest.mark.parametrize("count", [1, 3, 7, 50, 100])
def test_top_indices_are_those_of_a_stable_sort(count):
    scores = torch.randint(0, 5, (50,), generator=torch.Generator().manual_seed(count)).float()  # many ties
    expected = sorted(range(50), key=lambda i: (-scores[i].item(), i))[:count]
    assert top_indices(scores, count).tolist() == expected


def test_head_shares_its_weights_over_the_levels():
    head = RPNHead(8, 3, RPNHeadSpec())
    features = [torch.randn(2, 8, 4, 6), torch.randn(2, 8, 2, 3)]
    logits, deltas = head(features)
    assert [tuple(x.shape) for x in logits] == [(2, 3, 4, 6), (2, 3, 2, 3)]
    assert [tuple(x.shape) for x in deltas] == [(2, 12, 4, 6), (2, 12, 2, 3)]
    assert torch.equal(head([features[0], features[0]])[0][1], logits[0])
