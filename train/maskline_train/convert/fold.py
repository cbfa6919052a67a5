"""Batch norms inside of the convolutions before them, where our networks have none: the same numbers at inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_PARTS = ("weight", "bias", "running_mean", "running_var")


def fold_batch_norms(
    weights: Mapping[str, Tensor], conv_of: Callable[[str], str | None], eps: float
) -> dict[str, Tensor]:
    """The weights without some of their batch norms.

    Args:
        weights: a state dict.
        conv_of: the name, up to `weight`, of the convolution before a norm that is given likewise; None: it stays.
        eps: that the norms add to the variance.

    Returns:
        The rest, unchanged, and of each convolution another `weight` and a `bias`.
    """
    norms = {
        norm: conv
        for name in weights
        if name.endswith("running_var") and (conv := conv_of(norm := name.removesuffix("running_var"))) is not None
    }
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(tuple(norms))}
    for norm, conv in norms.items():
        gain, bias, mean, variance = (weight_of(weights, norm + part) for part in _PARTS)
        kernel = weight_of(weights, f"{conv}weight")
        before = weight_of(weights, f"{conv}bias") if f"{conv}bias" in weights else torch.zeros_like(mean)
        _check_sizes(norm, len(kernel), (gain, bias, mean, variance, before))
        check_variance(f"{norm}running_var", variance, eps)
        scale = gain * torch.rsqrt(variance + eps)
        kept[f"{conv}weight"] = kernel * scale.view(-1, *[1] * (kernel.dim() - 1))
        kept[f"{conv}bias"] = bias + (before - mean) * scale
    return kept


def weight_of(weights: Mapping[str, Tensor], name: str) -> Tensor:
    """A weight: floats of one dimension or more.

    Raises:
        ValueError: there is none of that name, it is a single number, or it has no floats.
    """
    if name not in weights:
        raise ValueError(f"weight {name!r} is missing; the file is cut short or of another network")
    if weights[name].dim() == 0:
        raise ValueError(f"weight {name!r}: got a single number, expected one a channel or row")
    if not weights[name].is_floating_point():
        raise ValueError(f"weight {name!r}: got {weights[name].dtype}, expected floats")
    return weights[name]


def check_variance(name: str, variance: Tensor, eps: float) -> None:
    """Raise where a norm would divide by the root of nothing or less.

    Raises:
        ValueError: naming the weight.
    """
    least = float(variance.min()) if variance.numel() else 1.0
    if least < 0 or least + eps <= 0:
        raise ValueError(f"weight {name!r}: got a variance of {least:g}, expected above 0; the file is damaged")


def _check_sizes(norm: str, channels: int, parts: tuple[Tensor, ...]) -> None:
    for name, tensor in zip((*_PARTS, "the bias of the convolution before"), parts, strict=True):
        if tuple(tensor.shape) != (channels,):
            raise ValueError(f"weight {norm + name!r}: got shape {list(tensor.shape)}, expected [{channels}]")
