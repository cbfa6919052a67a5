"""The directions in which a trunk's features vary most, for heads to learn in: fewer numbers, more signal in each.

A random trunk's 256 channels vary mostly in a few directions (32 of them have four fifths of the variance), and of what
a rounding to 8 bits adds they get one fifth. A head learns there in fewer steps, each of them shorter, and what it
learned is folded into its layer afterwards, so that the network stays as it is built.

Letters: N rows, C channels, S directions, O outputs, h w any size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import Tensor, nn

_EVERY = 7  # cell of a map is looked at; prime to the maps' widths, so that all columns are


@dataclasses.dataclass(frozen=True)
class Subspace:
    """Principal components of features.

    Attributes:
        mean: [C].
        directions: [C, S], orthonormal, most variance first.
        spread: [S], standard deviation along each.
        noise_unit: standard deviation of all channels together: what noise is stated in.
    """

    mean: Tensor
    directions: Tensor
    spread: Tensor
    noise_unit: Tensor

    def project(self, features: Tensor) -> Tensor:
        """[N, C, h, w] to [N, S, h, w], each direction of mean 0 and spread 1."""
        shape = (1, -1, 1, 1)
        seen = torch.einsum("nchw,cs->nshw", features - self.mean.view(shape), self.directions)
        return seen / self.spread.view(shape)

    def noise(self, share: float, places: int) -> Tensor:
        """[S * places] spread that white noise of the channels, a share of `noise_unit`, has in projected rows."""
        return (share * self.noise_unit / self.spread).repeat_interleave(places)

    def fold(self, learned: nn.Linear, layer: nn.Linear | nn.Conv2d, places: int) -> None:
        """Give a layer over features [N, C * places] the weights that do what `learned` does over projected ones."""
        outputs = len(learned.weight)
        scaled = learned.weight.view(outputs, -1, places) / self.spread.view(1, -1, 1)
        weight = torch.einsum("osp,cs->ocp", scaled, self.directions)
        assert layer.bias is not None
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        layer.bias.copy_(learned.bias - torch.einsum("ocp,c->o", weight, self.mean))


@torch.no_grad()
def principal_subspace(maps: Iterable[Tensor], size: int) -> Subspace:
    """The `size` directions of most variance of feature maps [1, C, h, w]."""
    cells = torch.cat([each[0].flatten(1).T[::_EVERY] for each in maps])
    mean = cells.mean(0)
    values, vectors = torch.linalg.eigh((cells - mean).T @ (cells - mean) / len(cells))
    return Subspace(mean, vectors.flip(1)[:, :size], values.flip(0)[:size].sqrt(), cells.std())


def fresh_layer(inputs: int, outputs: int) -> nn.Linear:
    """A layer before a ReLU that has learned nothing."""
    layer = nn.Linear(inputs, outputs)
    reset(layer)
    return layer


def reset(layer: nn.Linear) -> None:
    """Forget what was learned; the spread stays on its way through the ReLU."""
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
