"""Norms of a body: frozen, ordinary, synchronised over processes, or by groups, each run together with its convolution.

A frozen batch norm is folded into the convolution before it as it runs, `conv(x, weight * scale, shift)`: the same
numbers as a convolution followed by a scale and a shift, without reading and writing the activations once more.

Letters: B images, C channels, H W cells.
Ref: frozen: paper's released code; synchronised: Peng et al. 2018 (MegDet); groups: Wu and He 2018.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce

from maskline_train.spec import NUM_GROUPS, BackboneSpec


class FrozenBatchNorm(nn.Module):
    """Batch norm with fixed statistics and fixed scale and shift, run inside the convolution before it."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Norm of `conv(x)`; the gradient reaches the convolution's weight, nothing here trains."""
        scale, shift = scale_and_shift(self)
        weight = conv.weight * scale[:, None, None, None]
        out: Tensor = conv._conv_forward(x, weight, shift)  # the convolution's own way, with another weight and bias
        return out


class BatchNorm(nn.BatchNorm2d):
    """The ordinary batch norm, for training from nothing."""

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Norm of `conv(x)`."""
        out: Tensor = self(conv(x))
        return out


class SyncBatchNorm(nn.SyncBatchNorm):
    """Batch norm with the statistics of the joint batch of all processes.

    torch's own runs on GPUs alone; on the CPU the same statistics come from a reduction that autograd knows.
    """

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Norm of `conv(x)`."""
        out: Tensor = self(conv(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W], normalised over B, H and W of all processes, which must all call this while training."""
        joint = self.training and distributed.is_available() and distributed.is_initialized()
        if not joint or x.device.type == "cuda":
            out: Tensor = super().forward(x)
            return out
        count = x.new_tensor([x.numel() / x.shape[1]])
        sums = torch.cat([x.sum(dim=(0, 2, 3)), x.square().sum(dim=(0, 2, 3)), count])
        mean, square, (total,) = all_reduce(sums).split([x.shape[1], x.shape[1], 1])  # type: ignore[no-untyped-call]
        mean, square = mean / total, square / total
        variance = square - mean.square()
        self._remember(mean.detach(), variance.detach() * total.detach() / (total.detach() - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalised: Tensor = x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        return normalised

    @torch.no_grad()
    def _remember(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)
        self.num_batches_tracked += 1


class PreciseGroupNorm(nn.GroupNorm):
    """torch's, of a tensor whose channels lie one after another.

    Of one that is channels last torch takes the variance on a CPU as the difference of two large numbers (mean of
    squares, square of the mean), which leaves features 15 times as far from float64's. On a GPU it copies itself.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] of whatever layout to the same shape."""
        out: Tensor = super().forward(x.contiguous())
        return out


class GroupNorm(PreciseGroupNorm):
    """Norm over groups of channels of one image: it has no statistics to keep and does not see the batch.

    What a canvas holds beyond its image counts too, as in every implementation.
    """

    def __init__(self, channels: int, groups: int = NUM_GROUPS, least: int = 2) -> None:
        """`groups` groups, or fewer, so that each has `least` channels."""
        super().__init__(math.gcd(groups, max(1, channels // least)), channels)

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """Norm of `conv(x)`."""
        out: Tensor = self(conv(x))
        return out


class FoldedNorm(nn.Module):
    """What `fold_norms` leaves behind: the convolution already holds the norm."""

    def after(self, conv: nn.Conv2d, x: Tensor) -> Tensor:
        """`conv(x)`."""
        out: Tensor = conv(x)
        return out


Norm = FrozenBatchNorm | BatchNorm | SyncBatchNorm | GroupNorm | FoldedNorm


def build_norm(channels: int, spec: BackboneSpec) -> Norm:
    """The norm that the spec asks for."""
    if spec.norm == "frozen_batch":
        return FrozenBatchNorm(channels)
    if spec.norm == "batch":
        return BatchNorm(channels)
    if spec.norm == "sync_batch":
        return SyncBatchNorm(channels)
    return GroupNorm(channels, spec.norm_groups, spec.least_group_channels)


def scale_and_shift(norm: FrozenBatchNorm | BatchNorm | SyncBatchNorm) -> tuple[Tensor, Tensor]:
    """The affine map of a norm at inference: y = x * scale + shift, each [C]."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale
