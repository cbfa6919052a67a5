"""A layer that learned in the features' main directions does the same over the features themselves, once folded."""

import pytest
import torch
from maskline_bench.subspace import Subspace, fresh_layer, principal_subspace
from torch import Tensor, nn


@pytest.fixture
def features() -> Tensor:
    """[1, 12, 14, 15] that vary in 3 directions, about a mean."""
    torch.manual_seed(0)
    sources = torch.randn(3, 14 * 15) * torch.tensor([[5.0], [2.0], [1.0]])
    mixed = torch.linalg.qr(torch.randn(12, 3))[0] @ sources + torch.randn(12, 1)
    return mixed.view(1, 12, 14, 15)


@pytest.fixture
def space(features: Tensor) -> Subspace:
    return principal_subspace([features], 3)


def test_directions_come_with_most_variance_first_and_keep_all_of_it(features: Tensor, space: Subspace) -> None:
    assert torch.allclose(space.directions.T @ space.directions, torch.eye(3), atol=1e-5)
    assert (space.spread.diff() < 0).all()
    seen = space.project(features) * space.spread.view(1, 3, 1, 1)
    back = torch.einsum("nshw,cs->nchw", seen, space.directions) + space.mean.view(1, 12, 1, 1)
    assert torch.allclose(back, features, atol=1e-4)


def test_noise_of_the_channels_is_that_of_the_projected_rows(space: Subspace) -> None:
    white = 0.2 * space.noise_unit * torch.randn(1, 12, 100, 100)
    seen = space.project(white + space.mean.view(1, 12, 1, 1))[0].flatten(1).std(1)
    assert torch.allclose(seen, space.noise(0.2, 1), rtol=0.05)  # 10 000 values: 0.7 % each
    assert torch.equal(space.noise(0.2, 2), torch.repeat_interleave(space.noise(0.2, 1), 2))


@torch.no_grad()
def test_a_folded_convolution_sees_the_padding_too(features: Tensor, space: Subspace) -> None:
    learned, layer = fresh_layer(3 * 9, 4), nn.Conv2d(12, 4, 3, padding=1)
    learned.bias.normal_()
    space.fold(learned, layer, 9)
    rows = nn.functional.unfold(space.project(nn.functional.pad(features, (1, 1, 1, 1))), 3)[0].T  # [14 * 15, 27]
    assert torch.allclose(layer(features)[0].flatten(1).T, learned(rows), atol=1e-4)


@torch.no_grad()
def test_a_folded_matrix_product_does_what_was_learned(features: Tensor, space: Subspace) -> None:
    learned, layer = fresh_layer(3 * 14 * 15, 4), nn.Linear(12 * 14 * 15, 4)
    space.fold(learned, layer, 14 * 15)
    assert torch.allclose(layer(features.flatten(1)), learned(space.project(features).flatten(1)), atol=1e-3)
