"""Batch norms inside of the convolutions before them, where our networks have none: the same numbers at inference."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


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
        scale = weights[f"{norm}weight"] * torch.rsqrt(weights[f"{norm}running_var"] + eps)
        kept[f"{conv}weight"] = weights[f"{conv}weight"] * scale.view(-1, 1, 1, 1)
        kept[f"{conv}bias"] = weights[f"{norm}bias"] - weights[f"{norm}running_mean"] * scale
    return kept
