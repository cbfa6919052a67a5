"""Rows of classes and channels of anchors as detectron2 orders them; Detectron's order is maskrcnn-benchmark's, too.

Letters: K foreground classes, A anchors a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_SCORES, _BOXES = "roi_heads.box_predictor.cls_score.", "roi_heads.box_predictor.bbox_pred."
_MASKS = "roi_heads.mask_head.predictor."
_LOGITS, _DELTAS = "proposal_generator.rpn_head.objectness_logits.", "proposal_generator.rpn_head.anchor_deltas."


def background_last(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with K + 1 scores, the background last, 4K rows of boxes or 4, K masks or 1.

    Args:
        tensors: by detectron2's names; the background is first, and boxes for all classes are the last four of eight
            rows. Rows of the background's boxes and masks are never read. Ref: Detectron, core/test.py.
    """
    return {name: _row_order(name, tensor) for name, tensor in tensors.items()}


def _row_order(name: str, tensor: Tensor) -> Tensor:
    if tensor.dim() == 0:
        return tensor
    if name.startswith(_SCORES):
        return torch.cat([tensor[1:], tensor[:1]])
    if name.startswith(_BOXES):
        return tensor[4:]
    return tensor[1:] if name.startswith(_MASKS) and len(tensor) > 1 else tensor


def in_order_of_anchors(tensors: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
    """The weights with the RPN's channels in another order of the anchors of a cell.

    Args:
        tensors: by detectron2's names.
        order: [A] where each anchor was.

    Raises:
        ValueError: they are not of A anchors.
    """
    ordered = dict(tensors)
    for name, tensor in tensors.items():
        each = 4 if name.startswith(_DELTAS) else 1
        if name.startswith((_LOGITS, _DELTAS)):
            if tensor.dim() == 0 or len(tensor) != each * len(order):
                raise ValueError(f"weight {name!r}: got shape {list(tensor.shape)}, expected {each * len(order)} rows")
            ordered[name] = tensor.view(len(order), each, *tensor.shape[1:])[list(order)].flatten(0, 1)
    return ordered
