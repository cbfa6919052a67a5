"""Matching, sampling and mask targets."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.model.targets import (
    RoISamples,
    SamplingSpec,
    mask_targets,
    match,
    sample,
    sample_anchors,
    sample_rois,
)
from maskline_train.target import Target

NOTHING = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 64, 64, dtype=torch.uint8))

KEYS = torch.tensor([11, 12])  # of two images


def target_of(*boxes, labels=None, size=(64, 64)):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    labels = torch.arange(len(boxes)) if labels is None else torch.tensor(labels)
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y0:y1, x0:x1] = 1
    return Target(boxes, labels, masks)


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corners, corners + torch.rand(count, 2, generator=generator) * 20 + 2], dim=1)


@pytest.mark.parametrize("num_objects", [1, 5, 16, 17, 40])  # chunks hold 16 objects
def test_matches_are_those_of_the_definition(num_objects):
    boxes, objects = random_boxes(60, 0), random_boxes(num_objects, 1)
    iou = np.array([[reference.iou(a, b) for b in objects.tolist()] for a in boxes.tolist()])
    matches = match(boxes, objects)
    assert np.allclose(matches.iou.numpy(), iou.max(axis=1), atol=1e-5)  # float32 areas
    clear = iou.max(axis=1) > 0
    assert np.array_equal(matches.objects.numpy()[clear], iou.argmax(axis=1)[clear])
    expected = ((np.abs(iou - iou.max(axis=0)) < 1e-6) & (iou > 0)).any(axis=1)
    assert np.array_equal(matches.is_best_of_an_object.numpy(), expected)


def test_no_objects_match_nothing():
    matches = match(random_boxes(5, 0), torch.zeros(0, 4))
    assert matches.iou.eq(0).all()
    assert not matches.is_best_of_an_object.any()


def test_an_object_that_nothing_touches_has_no_best_box():
    # else its largest overlap, zero, would make every box in the image a positive
    matches = match(torch.tensor([[0.0, 0.0, 5.0, 5.0]]), torch.tensor([[50.0, 50.0, 60.0, 60.0]]))
    assert not matches.is_best_of_an_object.any()


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60), st.integers(0, 30), st.floats(0, 1))
def test_samples_respect_the_counts(kinds, count, fraction):
    kinds = torch.tensor(kinds, dtype=torch.int64)
    positives, negatives = sample(kinds == 1, kinds == 0, count, fraction, torch.randperm(len(kinds)))
    assert kinds[positives].eq(1).all()
    assert kinds[negatives].eq(0).all()
    assert len(positives.unique()) == len(positives) == min(int(count * fraction), int((kinds == 1).sum()))
    assert len(negatives.unique()) == len(negatives) == min(count - len(positives), int((kinds == 0).sum()))


def test_the_lowest_numbers_of_each_kind_are_drawn():
    kinds, order = torch.arange(1000) % 4, torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    positives, negatives = sample(kinds == 1, kinds == 0, 100, 0.25, order)
    for drawn, kind, count in ((positives, 1, 25), (negatives, 0, 75)):
        expected = sorted(range(1000), key=lambda i: (int(kinds[i]) != kind, int(order[i])))[:count]
        assert drawn.tolist() == expected


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
    samples = sample_anchors(anchors, target, SamplingSpec(), KEYS[0])
    assert sorted(samples.positives.tolist()) == [0, 1, 4]
    assert sorted(samples.negatives.tolist()) == [3, 5]
    wanted = {0: 0, 1: 0, 4: 1}
    for index, box in zip(samples.positives.tolist(), samples.gt_boxes, strict=True):
        assert torch.equal(box, target.boxes[wanted[index]])


def test_an_image_without_objects_gives_negatives_alone():
    samples = sample_anchors(random_boxes(400, 0), NOTHING, SamplingSpec(), KEYS[0])
    assert len(samples.positives) == 0
    assert samples.gt_boxes.shape == (0, 4)
    assert len(samples.negatives) == 256


def test_rois_by_hand():
    target = target_of((10, 10, 30, 30), (40, 40, 60, 60), labels=[2, 0])
    proposals = torch.tensor(
        [
            [[10.0, 10.0, 30.0, 29.0], [40.0, 40.0, 60.0, 50.0], [0.0, 0.0, 9.0, 9.0], [5.0, 5.0, 60.0, 60.0]],
            [[1.0, 1.0, 5.0, 5.0], [2.0, 2.0, 9.0, 9.0], [0.0] * 4, [0.0] * 4],
        ]
    )
    rois = sample_rois(proposals, torch.tensor([4, 2]), [target, NOTHING], 3, SamplingSpec(), KEYS)
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
    positives = rois.positives(3)
    assert len(positives.boxes) == 4
    assert positives.labels.lt(3).all()


def test_at_most_a_quarter_of_the_rois_is_positive():
    target = target_of((10, 10, 40, 40))
    near = torch.tensor([10.0, 10.0, 40.0, 40.0]) + torch.rand(1, 300, 4)
    far = torch.tensor([50.0, 50.0, 60.0, 60.0]) + torch.rand(1, 300, 4)
    rois = sample_rois(
        torch.cat([near, far], dim=1), torch.tensor([600]), [target], 1, SamplingSpec(roi_samples=100), KEYS
    )
    assert len(rois.labels) == 100
    assert int((rois.labels == 0).sum()) == 25
    assert rois.labels[:25].eq(0).all(), "positives come first"


def test_a_candidate_keeps_its_draw_however_many_proposals_are_padding():
    """A process alone and one of two have other counts of padding rows; an object of the truth is no later row then."""
    target, spec = target_of((10, 10, 40, 40), (44, 44, 60, 60)), SamplingSpec(roi_samples=40)
    boxes = random_boxes(300, 2)[None]
    rois = sample_rois(boxes, torch.tensor([200]), [target], 2, spec, KEYS)
    fewer = sample_rois(boxes, torch.tensor([190]), [target], 2, spec, KEYS)
    gone = {tuple(box) for box in boxes[0, 190:200].tolist()}
    kept = [box for box in map(tuple, rois.boxes.tolist()) if box not in gone]
    assert 30 < len(kept) < 40
    assert set(kept) <= {tuple(box) for box in fewer.boxes.tolist()}


def rois_of(boxes, objects, images=None):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    images = torch.zeros(len(boxes), dtype=torch.int64) if images is None else torch.tensor(images)
    return RoISamples(boxes, images, torch.zeros(len(boxes), dtype=torch.int64), torch.tensor(objects))


def test_a_roi_on_its_object_has_a_full_target_and_one_beside_it_an_empty_one():
    target = target_of((8, 8, 24, 24))
    rois = rois_of([(8, 8, 24, 24), (40, 40, 56, 56)], [0, 0])
    masks = mask_targets(rois, [target], 4, aligned=True)
    assert masks[0].min() >= 0.5
    assert masks[0, 1:3, 1:3].eq(1).all()
    assert masks[1].eq(0).all()


def test_a_target_is_the_part_of_the_mask_inside_the_roi():
    # the RoI's left half covers the object: cells of 4 x 4 pixels, of which the first two columns are full
    target = target_of((0, 0, 16, 64))
    masks = mask_targets(rois_of([(8, 16, 24, 32)], [0]), [target], 4, aligned=True)
    assert masks[0].tolist() == [[1, 1, 0, 0]] * 4


def test_a_pixel_wide_object_covers_a_share_of_its_cells():
    target = target_of((5, 0, 6, 64))
    masks = mask_targets(rois_of([(0, 0, 16, 16)], [0]), [target], 4, aligned=True)
    assert masks[0].tolist() == [[0, 0.25, 0, 0]] * 4  # one of four columns of pixels


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.booleans())
def test_targets_are_roi_align_of_the_whole_mask(seed, aligned):
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.rand(2, 24, 32, generator=generator) > 0.5).to(torch.uint8)
    target = Target(torch.tensor([[0.0, 0.0, 9.0, 9.0]] * 2), torch.tensor([0, 1]), mask)
    corners = torch.rand(4, 2, generator=generator) * torch.tensor([30.0, 22.0])
    boxes = torch.cat([corners, corners + 0.2 + torch.rand(4, 2, generator=generator) * 12], dim=1)
    objects = [0, 1, 1, 0]
    found = mask_targets(rois_of(boxes.tolist(), objects), [target], 3, aligned)
    for row, (box, index) in enumerate(zip(boxes.tolist(), objects, strict=True)):
        expected = reference.roi_align(mask[index][None].numpy(), box, 1.0, 3, 0, aligned)[0]
        # a bin whose side is a whole number to the last bit may take one sample more in float32 than in float64
        sides = [(box[2] - box[0]) / 3, (box[3] - box[1]) / 3]
        if all(abs(side - round(side)) > 1e-5 for side in sides):
            assert np.allclose(found[row].numpy(), expected, atol=1e-4)  # float32 coordinates


def test_targets_are_read_from_the_image_of_the_roi():
    full, empty = target_of((0, 0, 64, 64)), target_of((0, 0, 64, 64))
    empty.masks.zero_()
    rois = rois_of([(8, 8, 24, 24)] * 3, [0, 0, 0], images=[0, 1, 0])
    masks = mask_targets(rois, [full, empty], 2, aligned=True)
    assert masks.amax(dim=(1, 2)).tolist() == [1, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_masks_may_be_bytes_or_booleans(dtype):
    target = target_of((8, 8, 24, 24))
    target = Target(target.boxes, target.labels, target.masks.to(dtype))
    assert mask_targets(rois_of([(8, 8, 24, 24)], [0]), [target], 4, aligned=True).mean() > 0.8


def test_no_positives_have_no_targets():
    assert mask_targets(rois_of(np.zeros((0, 4)), np.zeros(0, int)), [NOTHING], 28, aligned=True).shape == (0, 28, 28)
