"""The four RoI operators against their definitions as float64 loops, torchvision, and finite differences."""

import dataclasses

import pytest
import reference
import torch
from maskline_train.model.roi.modes import quantised
from maskline_train.model.roi.multiscale import multiscale_roi_align
from maskline_train.spec import RoIAlignSpec
from torchvision.ops import roi_align, roi_pool

SPEC = RoIAlignSpec(canonical_size_px=32.0)  # small boxes reach all four levels
STRIDES = (4, 8, 16, 32)
BOXES = torch.tensor(
    [
        [[3.0, 5.0, 12.0, 11.0], [10.2, 20.7, 40.1, 60.9], [0.0, 0.0, 64.0, 64.0], [5.0, 5.0, 5.0, 9.0]],
        [[-8.0, -8.0, 20.0, 20.0], [50.0, 50.0, 90.0, 90.0], [1.5, 1.5, 1.75, 1.75], [200.0, 9.0, 260.0, 60.0]],
    ]
)


def with_mode(mode, **changes):
    return dataclasses.replace(SPEC, mode=mode, **changes)


def pyramid(batch=2, channels=3, size=64, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, channels, size // s, size // s, generator=generator, dtype=dtype) for s in STRIDES]


@pytest.mark.parametrize("side", [1, 4, 7])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize("mode", ["align_max", "pool", "warp"])
def test_features_are_those_of_the_definition(mode, sampling_ratio, aligned, side):
    spec = with_mode(mode, sampling_ratio=sampling_ratio, aligned=aligned)
    features = pyramid()
    found = multiscale_roi_align(features, BOXES, spec, side)
    assert found.shape == (8, 3, side, side)
    for row, box in enumerate(BOXES.reshape(8, 4).tolist()):
        maps = [feature[row // 4].numpy() for feature in features]
        expected = torch.from_numpy(
            reference.multiscale_roi_align(
                maps, box, STRIDES, side, sampling_ratio, aligned, canonical_size=32.0, mode=mode
            )
        )
        # float32 weights against float64; RoIPool copies values, so it is exact
        assert torch.allclose(found[row].double(), expected, rtol=0, atol=0 if mode == "pool" else 1e-5)


def test_average_is_torchvisions_bit_for_bit():
    features = pyramid()[:1]
    boxes = BOXES[:, :3]
    images = torch.arange(2.0).repeat_interleave(3)[:, None]
    for ratio in (0, 1, 2):
        expected = roi_align(features[0], torch.cat([images, boxes.reshape(6, 4)], dim=1), 7, 0.25, ratio, True)
        assert torch.equal(
            multiscale_roi_align(features, boxes, with_mode("align_avg", sampling_ratio=ratio), 7), expected
        )


def test_pool_is_torchvisions_with_its_gradient():
    feature = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    images = torch.arange(2.0).repeat_interleave(3)[:, None]
    boxes = BOXES[:, [0, 1, 2]]
    expected = roi_pool(feature, torch.cat([images, boxes.reshape(6, 4)], dim=1), 7, 0.25)
    found = multiscale_roi_align([feature], boxes, with_mode("pool"), 7)
    assert torch.equal(found, expected)
    weight = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(found, feature, weight)
    (wanted,) = torch.autograd.grad(expected, feature, weight)
    assert gradient.any()
    assert torch.equal(gradient, wanted)


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("mode", ["align_avg", "align_max", "pool", "warp"])
def test_gradients_are_those_of_finite_differences(mode, sampling_ratio):
    # random values: no two points of a bin tie, so the maximum has a gradient
    features = [feature.requires_grad_() for feature in pyramid(1, 1, 32, torch.float64)]
    boxes = BOXES[:1].double() / 2
    spec = with_mode(mode, sampling_ratio=sampling_ratio)
    assert torch.autograd.gradcheck(lambda *maps: multiscale_roi_align(maps, boxes, spec, 2), features)


def test_the_gradient_of_the_maximum_goes_to_the_four_corners_of_the_winning_point():
    # One bin of 2 x 2 points over cells 0..3: at 0.5 and 2.5 of each axis, that is between cells. Cell (3, 3) is high.
    feature = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    feature[0, 0, 3, 3] = 8.0
    feature.requires_grad_()
    boxes = torch.tensor([[[0.0, 0.0, 16.0, 16.0]]], dtype=torch.float64)
    value = multiscale_roi_align([feature], boxes, RoIAlignSpec(mode="align_max"), 1)
    assert value.item() == 2.0  # the point (2.5, 2.5) sees a quarter of it
    (gradient,) = torch.autograd.grad(value, feature)
    expected = torch.zeros(4, 4, dtype=torch.float64)
    expected[2:, 2:] = 0.25
    assert torch.equal(gradient[0, 0], expected)


def test_the_maximum_interpolates_before_it_compares():
    # The stock operators' "max" takes the greatest weighted corner instead, 0.25 * 4.
    feature = torch.tensor([[[[4.0, 4.0], [0.0, 0.0]]]])
    boxes = torch.tensor([[[0.0, 0.0, 8.0, 8.0]]])
    found = multiscale_roi_align([feature], boxes, RoIAlignSpec(mode="align_max", sampling_ratio=1), 1)
    assert found.item() == 2.0  # all four corners, a quarter each: (4 + 4 + 0 + 0) / 4


def test_quantised_boxes_hold_both_edge_cells():
    # stride 16: 20 / 16 = 1.25 to cell 1, 40 / 16 = 2.5 to cell 3 (halves away from zero), so cells 1, 2 and 3
    rois = torch.tensor([[0.0, 20.0, 24.0, 40.0, 24.5], [1.0, -24.0, -7.9, -20.0, 40.0], [0.0, 30.0, 3.0, 31.0, 4.0]])
    expected = [[0.0, 16.0, 32.0, 64.0, 48.0], [1.0, -32.0, 0.0, -0.0, 64.0], [0.0, 32.0, 0.0, 48.0, 16.0]]
    assert quantised(rois, 1 / 16).tolist() == expected
    just_below = torch.tensor([[0.0, 0.0, 0.0, 0.49999997, 0.49999997]])
    assert quantised(just_below, 1.0)[0].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("mode", "moves"), [("align_avg", True), ("align_max", True), ("pool", False), ("warp", False)]
)
def test_only_the_quantised_operators_forget_where_a_box_is_within_a_cell(mode, moves):
    features = pyramid(1)[:1]
    boxes = torch.tensor([[[9.0, 9.0, 40.6, 40.6]], [[6.5, 6.5, 38.1, 38.1]]])  # both are cells 2 to 10
    a, b = (multiscale_roi_align(features, box[None], with_mode(mode), 7) for box in boxes)
    assert torch.equal(a, b) != moves


@pytest.mark.parametrize("mode", ["align_max", "pool", "warp"])
def test_boxes_without_area_give_zeros_and_no_boxes_no_rows(mode):
    boxes = torch.tensor([[[5.0, 5.0, 5.0, 20.0], [5.0, 5.0, 20.0, 5.0], [0.0] * 4, [20.0, 20.0, 5.0, 5.0]]])
    for ratio in (0, 2):
        spec = with_mode(mode, sampling_ratio=ratio)
        assert multiscale_roi_align(pyramid(1), boxes, spec, 3).eq(0).all()
        assert multiscale_roi_align(pyramid(1), boxes[:, :0], spec, 3).shape == (0, 3, 3, 3)


@pytest.mark.parametrize("mode", ["align_max", "pool", "warp"])
def test_half_precision_features_keep_float32_coordinates(mode):
    features = pyramid()
    exact = multiscale_roi_align([feature.half().float() for feature in features], BOXES, with_mode(mode), 7)
    half = multiscale_roi_align([feature.half() for feature in features], BOXES, with_mode(mode), 7)
    assert half.dtype == torch.float16
    assert torch.equal(half, exact.half())


def test_the_number_of_sampling_points_hardly_matters_when_nothing_is_quantised():
    """Paper, section 3: "not sensitive to the exact sampling locations, or how many points are sampled" (P13)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 8, 8, 8, generator=generator)
    feature = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic")  # smooth, as features are
    corners = torch.rand(1, 40, 2, generator=generator) * 150
    boxes = torch.cat([corners, corners + 30 + torch.rand(1, 40, 2, generator=generator) * 70], dim=2)
    exact = multiscale_roi_align([feature], boxes, with_mode("align_avg", sampling_ratio=8), 7)

    def error(mode, ratio):
        found = multiscale_roi_align([feature], boxes, with_mode(mode, sampling_ratio=ratio), 7)
        return ((found - exact).square().mean() / exact.square().mean()).sqrt().item()

    assert max(error("align_avg", ratio) for ratio in (0, 1, 2)) < 0.04
    assert error("warp", 2) > 5 * error("align_avg", 1)
