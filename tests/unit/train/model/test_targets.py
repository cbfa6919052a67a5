"""Mask targets."""

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.ground_truth import batched
from maskline_train.model.sampling import RoISamples
from maskline_train.model.targets import mask_targets
from maskline_train.target import Target
from support.data.rectangles import NOTHING, target_of


def rois_of(boxes, objects, images=None):
    boxes = torch.tensor(boxes, dtype=torch.float32)
    objects = torch.tensor(objects)
    images = torch.zeros(len(boxes), dtype=torch.int64) if images is None else torch.tensor(images)
    return RoISamples(boxes, images, torch.zeros(len(boxes), dtype=torch.int64), objects, objects >= 0)


def test_a_roi_on_its_object_has_a_full_target_and_one_beside_it_an_empty_one():
    target = target_of((8, 8, 24, 24))
    rois = rois_of([(8, 8, 24, 24), (40, 40, 56, 56)], [0, 0])
    masks = mask_targets(rois, batched([target]), 4, aligned=True)
    assert masks[0].min() >= 0.5
    assert masks[0, 1:3, 1:3].eq(1).all()
    assert masks[1].eq(0).all()


def test_a_target_is_the_part_of_the_mask_inside_the_roi():
    # the RoI's left half covers the object: cells of 4 x 4 pixels, of which the first two columns are full
    target = target_of((0, 0, 16, 64))
    masks = mask_targets(rois_of([(8, 16, 24, 32)], [0]), batched([target]), 4, aligned=True)
    assert masks[0].tolist() == [[1, 1, 0, 0]] * 4


def test_a_pixel_wide_object_covers_a_share_of_its_cells():
    target = target_of((5, 0, 6, 64))
    masks = mask_targets(rois_of([(0, 0, 16, 16)], [0]), batched([target]), 4, aligned=True)
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
    found = mask_targets(rois_of(boxes.tolist(), objects), batched([target]), 3, aligned)
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
    masks = mask_targets(rois, batched([full, empty]), 2, aligned=True)
    assert masks.amax(dim=(1, 2)).tolist() == [1, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool])
def test_masks_may_be_bytes_or_booleans(dtype):
    target = target_of((8, 8, 24, 24))
    target = Target(target.boxes, target.labels, target.masks.to(dtype))
    assert mask_targets(rois_of([(8, 8, 24, 24)], [0]), batched([target]), 4, aligned=True).mean() > 0.8


def test_no_positives_have_no_targets():
    assert mask_targets(rois_of(np.zeros((0, 4)), np.zeros(0, int)), batched([NOTHING]), 28, aligned=True).shape == (
        0,
        28,
        28,
    )


def test_a_row_that_does_not_count_has_a_target_of_zero():
    rois = rois_of([(8, 8, 24, 24)] * 2, [0, 0])._replace(counted=torch.tensor([True, False]))
    masks = mask_targets(rois, batched([target_of((8, 8, 24, 24))]), 2, aligned=True)
    assert masks.amax(dim=(1, 2)).tolist() == [1, 0]
