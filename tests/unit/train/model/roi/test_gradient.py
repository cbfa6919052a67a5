"""The fast gradient of RoIAlign is the gradient of RoIAlign."""

import pytest
import torch
from maskline_train.model.roi.gradient import average_gradient
from torchvision.ops import roi_align

ROIS = torch.tensor(
    [
        [0.0, 3.0, 5.0, 30.0, 21.0],
        [1.0, -20.0, -9.0, 40.0, 33.0],  # leaves the map at the top left, by more than a cell
        [1.0, 50.0, 30.0, 90.0, 70.0],  # and at the bottom right
        [0.0, 60.0, 44.0, 64.0, 48.0],  # the last cell
        [0.0, 10.0, 10.0, 10.5, 10.5],  # far smaller than a cell
        [1.0, 200.0, 200.0, 220.0, 220.0],  # outside
        [0.0, 3.0, 5.0, 30.0, 21.0],  # the first one again: gradients add up
    ],
    dtype=torch.float64,
)


@pytest.mark.parametrize("sampling_ratio", [1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("rows", [slice(None), slice(5, 6), slice(0, 0)])
def test_gradient_is_torchvisions(sampling_ratio, aligned, rows):
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 3, 12, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    args = (feature, ROIS[rows], 4, 0.25, sampling_ratio, aligned)
    expected = roi_align(*args)
    weight = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (wanted,) = torch.autograd.grad(expected, feature, weight)
    gradient = average_gradient(weight, feature.shape, args[1], *args[3:])
    assert torch.allclose(gradient, wanted, rtol=0, atol=1e-12)  # float64, another order of the sum
    assert bool(wanted.any()) == (rows == slice(None))


def test_gradient_is_the_same_in_every_run():
    rois = ROIS.float().repeat(20, 1)
    gradient = torch.randn(len(rois), 64, 7, 7)
    assert torch.equal(*(average_gradient(gradient, (2, 64, 12, 16), rois, 0.25, 2, True) for _ in range(2)))
