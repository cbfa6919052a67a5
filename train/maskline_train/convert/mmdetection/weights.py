"""mmdetection's weights, under our names, as ours: order of channels and anchors, and what a spec has no word for.

Letters: A anchors a cell, K foreground classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.fold import fold_batch_norms
from maskline_train.convert.load import COUNTER
from maskline_train.convert.mmdetection.anchors import scales_of
from maskline_train.convert.mmdetection.config import Values
from maskline_train.convert.options import ChannelOrder

_EPS = 1e-5  # of every batch norm there
_LOGITS, _DELTAS, _BOXES = "rpn_head.logits.", "rpn_head.deltas.", "box_head.box_deltas."


def to_weights(
    tensors: Mapping[str, Tensor], found: Architecture, settings: Values, order: ChannelOrder
) -> dict[str, Tensor]:
    """Our state dict, but for what it may lack.

    Args:
        tensors: mmdetection's under our names.
        found: their architecture.
        settings: of the model, every one that is read.
        order: of the channels; the first convolution is turned to RGB.

    Raises:
        ValueError: a weight that has not the rows of its part.
    """
    weights = fold_batch_norms(tensors, _conv_before, _EPS)
    return {
        name: _value(name, tensor, found, settings, order)
        for name, tensor in weights.items()
        if not name.endswith(COUNTER)
    }


def _value(name: str, tensor: Tensor, found: Architecture, settings: Values, order: ChannelOrder) -> Tensor:
    """One tensor as we read it."""
    if name == "backbone.body.conv1.weight" and order == "bgr":
        return tensor.flip(1)
    if name.startswith(_LOGITS):
        return _by_size(name, tensor, 1, found, settings)
    if name.startswith(_DELTAS):  # ours are of mean 0 and spread 1
        return _scaled(name, _by_size(name, tensor, 4, found, settings), settings, "rpn_head")
    if name.startswith(_BOXES):
        tensor = tensor.repeat(found.num_classes, *[1] * (tensor.dim() - 1)) if found.agnostic_boxes else tensor
        return _moved(name, tensor, settings, "roi_head.bbox_head")
    return tensor


def _by_size(name: str, tensor: Tensor, rows: int, found: Architecture, settings: Values) -> Tensor:
    """Anchors of a cell in our order, by size, then ratio; `scale_major` there means by ratio, then size."""
    if len(tensor) != rows * found.anchors:
        raise ValueError(f"weight {name!r} (our name): got {len(tensor)} rows, expected {rows * found.anchors}")
    sizes = len(scales_of(settings))
    if not settings["rpn_head.anchor_generator.scale_major"] or sizes == 1:
        return tensor
    by_ratio = tensor.view(found.anchors // sizes, sizes, rows, *tensor.shape[1:])
    return by_ratio.transpose(0, 1).flatten(0, 2)


def _scaled(name: str, tensor: Tensor, settings: Values, head: str) -> Tensor:
    """Deltas that are already `delta * std + mean`."""
    tensor = tensor * _per_row(settings[f"{head}.bbox_coder.target_stds"], tensor)
    return tensor + _per_row(settings[f"{head}.bbox_coder.target_means"], tensor) if name.endswith("bias") else tensor


def _moved(name: str, tensor: Tensor, settings: Values, head: str) -> Tensor:
    """Deltas that are multiplied by their spread afterwards, where the mean is inside of the bias."""
    if not name.endswith("bias"):
        return tensor
    stds, means = (settings[f"{head}.bbox_coder.target_{part}"] for part in ("stds", "means"))
    return tensor + _per_row([mean / std for mean, std in zip(means, stds, strict=True)], tensor)


def _per_row(numbers: list[float], tensor: Tensor) -> Tensor:
    """The four numbers of a box, over and over, as a column for the rows of a tensor."""
    column = torch.tensor(numbers, dtype=tensor.dtype).repeat(len(tensor) // 4)
    return column.view(-1, *[1] * (tensor.dim() - 1))


def _conv_before(norm: str) -> str | None:
    """The convolution of a norm of pyramid or heads; those of the body stay."""
    return norm.replace("_norms.", ".").replace(".norms.", ".convs.") if "norms." in norm else None
