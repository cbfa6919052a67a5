"""Weights that have our names into a model of their spec."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from maskline_train.checkpoint import first_misfit
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec

COUNTER = "num_batches_tracked"  # of ordinary batch norms: only training reads it


def model_of(spec: ModelSpec, weights: Mapping[str, Tensor], framework: str) -> MaskRCNN:
    """A model with these weights.

    Args:
        spec: of the model.
        weights: by our names; counters of batch norms may be missing.
        framework: what errors call their source.

    Raises:
        ValueError: one is missing, unknown, of another shape or holds no floats.
    """
    with torch.device("meta"):  # shapes without numbers: a file that does not fit costs no memory
        own = MaskRCNN(spec).state_dict()
    counters = {name: torch.zeros((), dtype=torch.int64) for name in own if name.endswith(COUNTER)}
    problem = first_misfit(own, {**counters, **weights}) or _first_without_floats(weights)
    if problem is not None:
        raise ValueError(f"{framework}'s weights (our names): {problem}")
    model = MaskRCNN(spec)
    model.load_state_dict({**counters, **weights})
    return model


def _first_without_floats(weights: Mapping[str, Tensor]) -> str | None:
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            return f"weight {name!r}: got {tensor.dtype}, expected floats"
    return None
