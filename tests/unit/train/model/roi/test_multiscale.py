"""RoIAlign over the pyramid: closed forms, the oracle, gradients, empty boxes."""

import dataclasses

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_train.model.backbone.backbone import STRIDES
from maskline_train.model.roi.by_level import box_levels
from maskline_train.model.roi.multiscale import multiscale_roi_align, roi_align_flat
from maskline_train.spec import RoIAlignSpec

SPEC = RoIAlignSpec(canonical_size_px=32.0)  # small boxes reach all four levels
BOXES = torch.tensor(
    [
        [[3.0, 5.0, 12.0, 11.0], [10.2, 20.7, 40.1, 60.9], [0.0, 0.0, 64.0, 64.0], [5.0, 5.0, 5.0, 9.0]],
        [[-8.0, -8.0, 20.0, 20.0], [50.0, 50.0, 90.0, 90.0], [1.5, 1.5, 1.75, 1.75], [0.0, 0.0, 0.0, 0.0]],
    ]
)


def pyramid(batch=2, channels=3, size=64, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, size // s, size // s, generator=generator, dtype=dtype) for s in STRIDES[:4]]


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("side", [1, 7])
def test_features_are_those_of_the_definition(sampling_ratio, aligned, side):
    spec = dataclasses.replace(SPEC, sampling_ratio=sampling_ratio, aligned=aligned)
    features = pyramid()
    found = multiscale_roi_align(features, BOXES, spec, side)
    assert found.shape == (8, 3, side, side)
    for image in range(2):
        for row in range(4):
            expected = reference.multiscale_roi_align(
                [feature[image].numpy() for feature in features],
                BOXES[image, row].tolist(),
                STRIDES[:4],
                side,
                sampling_ratio,
                aligned,
                canonical_size=32.0,
            )
            # float32 weights of up to 16 x 16 samples a bin against float64
            assert torch.allclose(found[image * 4 + row].double(), torch.from_numpy(expected), atol=1e-5)


inside = st.tuples(st.floats(8, 30), st.floats(8, 30), st.floats(2, 20), st.floats(2, 20))


@settings(deadline=None, max_examples=30)
@given(inside, st.floats(-5, 5))
def test_a_constant_map_gives_the_constant(box, value):
    x, y, width, height = box
    boxes = torch.tensor([[[x, y, x + width, y + height]]])
    features = [torch.full_like(feature, value) for feature in pyramid(1)]
    assert torch.allclose(multiscale_roi_align(features, boxes, SPEC, 7), torch.tensor(value), atol=1e-5)  # float32


@settings(deadline=None, max_examples=30)
@given(inside)
def test_a_ramp_gives_the_centres_of_the_bins(box):
    # cell i has its centre at pixel 4 * (i + 0.5), so the map x -> pixel of the cell's centre is read back exactly
    x, y, width, height = box
    boxes = torch.tensor([[[x, y, x + width, y + height]]], dtype=torch.float64)
    centres = (torch.arange(16, dtype=torch.float64) + 0.5) * 4
    ramp = torch.stack([centres[None].expand(16, 16), centres[:, None].expand(16, 16)])[None]
    found = multiscale_roi_align([ramp], boxes, RoIAlignSpec(aligned=True), 5)[0]
    bins = (torch.arange(5, dtype=torch.float64) + 0.5) / 5
    assert torch.allclose(found[0], (x + bins * width)[None].expand(5, 5), atol=1e-9)  # float64
    assert torch.allclose(found[1], (y + bins * height)[:, None].expand(5, 5), atol=1e-9)


def test_it_is_linear_in_the_features():
    a, b = pyramid(seed=1), pyramid(seed=2)
    mixed = [2 * x - 3 * y for x, y in zip(a, b, strict=True)]
    expected = 2 * multiscale_roi_align(a, BOXES, SPEC, 4) - 3 * multiscale_roi_align(b, BOXES, SPEC, 4)
    assert torch.allclose(multiscale_roi_align(mixed, BOXES, SPEC, 4), expected, atol=1e-5)  # float32


@pytest.mark.parametrize("aligned", [True, False])
def test_boxes_without_area_give_zeros(aligned):
    boxes = torch.tensor([[[5.0, 5.0, 5.0, 20.0], [5.0, 5.0, 20.0, 5.0], [0.0] * 4, [20.0, 20.0, 5.0, 5.0]]])
    spec = dataclasses.replace(SPEC, aligned=aligned)
    assert multiscale_roi_align(pyramid(1), boxes, spec, 3).eq(0).all()


def test_no_boxes_give_no_rows():
    assert multiscale_roi_align(pyramid(), torch.zeros(2, 0, 4), SPEC, 7).shape == (0, 3, 7, 7)
    assert roi_align_flat(pyramid(), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), SPEC, 7).shape[0] == 0


def test_flat_boxes_may_come_in_any_order():
    features = pyramid()
    expected = multiscale_roi_align(features, BOXES, SPEC, 4)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    images = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = roi_align_flat(features, BOXES.reshape(8, 4)[order], images[order], SPEC, 4)
    assert torch.equal(found, expected[order])


def test_the_level_of_a_box_is_that_of_the_equation():
    sides = torch.tensor([1.0, 56.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 1000.0, 0.0])
    boxes = torch.stack([torch.zeros(10), torch.zeros(10), sides, sides], dim=1)
    levels = box_levels(boxes, RoIAlignSpec(), 4)
    assert levels.tolist() == [2, 2, 2, 3, 3, 4, 4, 5, 5, 2]
    assert levels.tolist() == [reference.level_of(box, 224.0, 4, 2, 5) for box in boxes.tolist()]
    # 112 x 448 has the area of 224 x 224
    assert box_levels(torch.tensor([[0.0, 0.0, 112.0, 448.0]]), RoIAlignSpec(), 4).tolist() == [4]


def test_half_precision_features_keep_float32_coordinates():
    # beyond x = 1024 px at stride 4 a float16 coordinate steps by a quarter of a cell
    centres = torch.arange(512.0).expand(1, 1, 8, 512)
    boxes = torch.tensor([[[1501.0, 4.0, 1508.0, 12.0]]])
    spec = RoIAlignSpec()
    exact = multiscale_roi_align([centres / 512], boxes, spec, 7)
    half = multiscale_roi_align([(centres / 512).half()], boxes, spec, 7)
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), exact, atol=2**-11)  # the rounding of the result alone


def test_gradients_are_those_of_finite_differences():
    features = [feature.requires_grad_() for feature in pyramid(1, 1, 32, torch.float64)]
    boxes = BOXES[:1].double() / 2
    assert torch.autograd.gradcheck(lambda *maps: multiscale_roi_align(maps, boxes, SPEC, 2), features)


def test_no_gradient_flows_into_boxes():
    # paper 3.1, joint training: the gradient with respect to RoI coordinates is ignored
    boxes = BOXES.clone().requires_grad_()
    features = [feature.requires_grad_() for feature in pyramid()]
    multiscale_roi_align(features, boxes, SPEC, 2).sum().backward()
    assert boxes.grad is None or boxes.grad.eq(0).all()
