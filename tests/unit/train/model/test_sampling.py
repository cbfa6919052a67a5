"""Matching, and the draws of anchors and RoIs."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given
from hypothesis import strategies as st
from maskline_train.ground_truth import batched
from maskline_train.model.sampling import SamplingSpec, match, sample, sample_anchors, sample_rois
from support.data.rectangles import NOTHING, target_of

KEYS = torch.tensor([11, 12])  # of two images


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * 20 + 2], dim=1)


def match_one(boxes, objects, padding=3):
    """The matches of one image, whose objects have padding behind them that would overlap every box."""
    whole = torch.tensor([[0.0, 0.0, 64.0, 64.0]]).repeat(padding, 1)
    valid = torch.arange(len(objects) + padding) < len(objects)
    return type(match(boxes, objects[None], valid[None, : len(objects)]))(
        *(column[0] for column in match(boxes, torch.cat([objects, whole])[None], valid[None]))
    )


@pytest.mark.parametrize("num_objects", [1, 5, 16, 17, 40])  # chunks hold 16 objects
def test_matches_are_those_of_the_definition(num_objects):
    boxes, objects = random_boxes(60, 0), random_boxes(num_objects, 1)
    iou = np.array([[reference.iou(a, b) for b in objects.tolist()] for a in boxes.tolist()])
    matches = match_one(boxes, objects)
    assert np.allclose(matches.iou.numpy(), iou.max(axis=1), atol=1e-5)  # float32 areas
    clear = iou.max(axis=1) > 0
    assert np.array_equal(matches.objects.numpy()[clear], iou.argmax(axis=1)[clear])
    expected = ((np.abs(iou - iou.max(axis=0)) < 1e-6) & (iou > 0)).any(axis=1)
    assert np.array_equal(matches.is_best_of_an_object.numpy(), expected)


def test_no_objects_match_nothing():
    matches = match_one(random_boxes(5, 0), torch.zeros(0, 4))
    assert matches.iou.eq(0).all()
    assert not matches.is_best_of_an_object.any()


def test_an_object_that_nothing_touches_has_no_best_box():
    # else its largest overlap, zero, would make every box in the image a positive
    matches = match_one(torch.tensor([[0.0, 0.0, 5.0, 5.0]]), torch.tensor([[50.0, 50.0, 60.0, 60.0]]))
    assert not matches.is_best_of_an_object.any()


def counted(rows, which):
    """The rows of one image that count, as numbers; they come first."""
    assert which[0].tolist() == sorted(which[0].tolist(), reverse=True)
    return rows[0][which[0]]


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60), st.integers(0, 30), st.floats(0, 1))
def test_samples_respect_the_counts(kinds, count, fraction):
    kinds = torch.tensor(kinds, dtype=torch.int64)
    drawn = sample((kinds == 1)[None], (kinds == 0)[None], count, fraction, torch.randperm(len(kinds))[None])
    positives, negatives = counted(*drawn[:2]), counted(*drawn[2:])
    assert kinds[positives].eq(1).all()
    assert kinds[negatives].eq(0).all()
    assert len(positives.unique()) == len(positives) == min(int(count * fraction), int((kinds == 1).sum()))
    assert len(negatives.unique()) == len(negatives) == min(count - len(positives), int((kinds == 0).sum()))
    assert drawn[0].shape[1] == min(int(count * fraction), len(kinds))
    assert drawn[2].shape[1] == min(count, len(kinds))


def test_the_lowest_numbers_of_each_kind_are_drawn_of_each_image():
    generator = torch.Generator().manual_seed(0)
    kinds = torch.stack([torch.arange(1000) % 4, torch.arange(1000) % 7])
    order = torch.stack([torch.randperm(1000, generator=generator) for _ in kinds])
    drawn = sample(kinds == 1, kinds == 0, 100, 0.25, order)
    for image in range(2):
        for rows, which, kind, count in ((*drawn[:2], 1, 25), (*drawn[2:], 0, 75)):
            expected = sorted(range(1000), key=lambda i: (int(kinds[image, i]) != kind, int(order[image, i])))[:count]
            assert rows[image][which[image]].tolist() == expected


def test_anchors_by_hand():
    anchors = torch.tensor(
        [
            [10.0, 10.0, 30.0, 30.0],  # IoU 1 with the first object: positive
            [12.0, 10.0, 32.0, 30.0],  # 18/22 = 0.82: positive
            [20.0, 10.0, 40.0, 30.0],  # 10/30 = 0.33: ignored
            [26.0, 10.0, 46.0, 30.0],  # 4/36 = 0.11: negative
            [48.0, 48.0, 64.0, 64.0],  # 0.25 with the second object, but no anchor has more: positive
            [0.0, 40.0, 8.0, 48.0],  # far from all: negative
        ]
    )
    target = target_of((10, 10, 30, 30), (56, 48, 60, 64))
    samples = sample_anchors(anchors, batched([target]), SamplingSpec(), KEYS[:1])
    positives = counted(samples.positives, samples.is_positive).tolist()
    assert sorted(positives) == [0, 1, 4]
    assert sorted(counted(samples.negatives, samples.is_negative).tolist()) == [3, 5]
    wanted = {0: 0, 1: 0, 4: 1}
    for index, box in zip(positives, samples.gt_boxes[0], strict=False):
        assert torch.equal(box, target.boxes[wanted[index]])


def test_an_image_without_objects_gives_negatives_alone():
    samples = sample_anchors(random_boxes(400, 0), batched([NOTHING]), SamplingSpec(), KEYS[:1])
    assert not samples.is_positive.any()
    assert samples.gt_boxes.shape == (1, 128, 4)
    assert len(counted(samples.negatives, samples.is_negative)) == 256


def test_rois_by_hand():
    target = target_of((10, 10, 30, 30), (40, 40, 60, 60), labels=[2, 0])
    proposals = torch.tensor(
        [
            [[10.0, 10.0, 30.0, 29.0], [40.0, 40.0, 60.0, 50.0], [0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 60.0, 60.0]],
            [[1.0, 1.0, 5.0, 5.0], [2.0, 2.0, 9.0, 9.0], [0.0] * 4, [0.0] * 4],
        ]
    )
    rois, positives = sample_rois(proposals, torch.tensor([4, 2]), batched([target, NOTHING]), 3, SamplingSpec(), KEYS)
    assert len(rois.boxes) == 2 * (4 + 8)  # every candidate, those of 8 objects among them, for no image has 512
    assert rois.boxes[~rois.counted].eq(0).all()
    assert rois.labels[~rois.counted].eq(3).all()
    rois, positives = rois.only_counted(), positives.only_counted()
    rows = {
        (image, *box): (label, obj)
        for image, box, label, obj in zip(
            rois.images.tolist(), rois.boxes.tolist(), rois.labels.tolist(), rois.objects.tolist(), strict=True
        )
    }
    assert (
        rows.keys()
        == {
            *((0, *box) for box in proposals[0].tolist() + target.boxes.tolist()),  # ground truth is a candidate
            *((1, *box) for box in proposals[1, :2].tolist()),  # and padding is none
        }
    )
    assert rows[0, 10, 10, 30, 29] == (2, 0)  # 0.95
    assert rows[0, 40, 40, 60, 50] == (0, 1)  # exactly one half counts
    assert rows[0, 10, 10, 30, 30] == (2, 0)
    assert rows[0, 0, 0, 9, 9][0] == 3
    assert rows[0, 5, 5, 60, 60][0] == 3
    assert rows[1, 1, 1, 5, 5][0] == 3
    assert len(positives.boxes) == 4
    assert positives.labels.lt(3).all()


def test_at_most_a_quarter_of_the_rois_is_positive():
    target = target_of((10, 10, 40, 40))
    near = torch.tensor([10.0, 10.0, 40.0, 40.0]) + torch.rand(1, 300, 4)
    far = torch.tensor([50.0, 50.0, 60.0, 60.0]) + torch.rand(1, 300, 4)
    rois, positives = sample_rois(
        torch.cat([near, far], dim=1),
        torch.tensor([600]),
        batched([target]),
        1,
        SamplingSpec(roi_samples=100),
        KEYS[:1],
    )
    assert len(rois.labels) == 100
    assert rois.counted.all()
    assert int((rois.labels == 0).sum()) == 25
    assert rois.labels[:25].eq(0).all(), "positives come first"
    assert torch.equal(positives.boxes, rois.boxes[:25])


def test_negatives_close_up_to_few_positives_and_what_is_left_does_not_count():
    target = target_of((10, 10, 40, 40))
    proposals = torch.cat([torch.tensor([[50.0, 50.0, 60.0, 60.0]]) + i / 8 for i in range(20)])[None]
    rois, positives = sample_rois(
        proposals, torch.tensor([20]), batched([target]), 1, SamplingSpec(roi_samples=24), KEYS[:1]
    )
    assert rois.labels.tolist() == [0] + [1] * 23
    assert rois.counted.tolist() == [True] * 21 + [False] * 3
    assert positives.counted.tolist() == [True] + [False] * 5
    assert torch.equal(positives.boxes, rois.boxes[:6])


def test_a_candidate_keeps_its_draw_however_many_proposals_are_padding():
    """A process alone and one of two have other counts of padding rows; an object of the truth is no later row then."""
    target, spec = target_of((10, 10, 40, 40), (44, 44, 60, 60)), SamplingSpec(roi_samples=40)
    boxes = random_boxes(300, 2)[None]
    truth = batched([target])
    rois, fewer = (sample_rois(boxes, torch.tensor([n]), truth, 2, spec, KEYS[:1])[0] for n in (200, 190))
    gone = {tuple(box) for box in boxes[0, 190:200].tolist()}
    kept = [box for box in map(tuple, rois.boxes.tolist()) if box not in gone]
    assert 30 < len(kept) < 40
    assert set(kept) <= {tuple(box) for box in fewer.boxes.tolist()}
