"""detectron2's weights as ours: names, the order of channels and classes, and what a ModelSpec has no word for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.detectron2.config import Values
from maskline_train.convert.detectron2.constants import is_constant
from maskline_train.convert.detectron2.names import renamed
from maskline_train.convert.fold import fold_batch_norms
from maskline_train.convert.load import COUNTER
from maskline_train.convert.options import ChannelOrder

_EPS = 1e-5  # of every batch norm there
_WITHOUT_NORMS = ("backbone.fpn_", "roi_heads.mask_head.", "roi_heads.box_head.")  # batch norms there are folded
_DELTAS = "proposal_generator.rpn_head.anchor_deltas."
_BOXES = "roi_heads.box_predictor.bbox_pred."


def to_weights(
    tensors: Mapping[str, Tensor], found: Architecture, config: Values, order: ChannelOrder
) -> dict[str, Tensor]:
    """Our state dict, but for what it may lack.

    Args:
        tensors: detectron2's, without common prefixes.
        found: their architecture.
        config: every setting that is read here.
        order: of the channels; the first convolution is turned to RGB.

    Raises:
        ValueError: a weight of no part that is known.
    """
    weights = {name: tensor for name, tensor in tensors.items() if not is_constant(name)}
    weights = fold_batch_norms(weights, _conv_before, _EPS)
    return {
        renamed(name): _value(name, tensor, found, config, order)
        for name, tensor in weights.items()
        if not name.endswith(COUNTER)
    }


def _value(name: str, tensor: Tensor, found: Architecture, config: Values, order: ChannelOrder) -> Tensor:
    """One tensor as we read it."""
    if name.endswith("stem.conv1.weight") and order == "bgr":
        return tensor.flip(1)
    if name.startswith(_DELTAS):  # ours are not divided by weights afterwards
        return tensor / _per_row(config["MODEL.RPN.BBOX_REG_WEIGHTS"], tensor)
    if name.startswith(_BOXES) and found.agnostic_boxes:
        return tensor.repeat(found.num_classes, *[1] * (tensor.dim() - 1))
    return tensor


def _per_row(weights: list[float], tensor: Tensor) -> Tensor:
    """The four weights of a box, over and over, as a column for the rows of a tensor."""
    if len(tensor) % len(weights):
        raise ValueError(f"weights {_DELTAS}weight, bias: got {len(tensor)} rows, expected {len(weights)} an anchor")
    column = torch.tensor(weights, dtype=tensor.dtype).repeat(len(tensor) // 4)
    return column.view(-1, *[1] * (tensor.dim() - 1))


def _conv_before(norm: str) -> str | None:
    """The convolution of a norm of pyramid or heads; those of the body stay."""
    return norm.removesuffix("norm.") if norm.startswith(_WITHOUT_NORMS) else None
