"""Proposals from the outputs of the RPN head by PyTorch's own operators, an image and a level at a time.

Letters: B images, L levels, A anchors a cell, R proposals an image, Hi Wi level i.
Ref: Faster R-CNN, section 3.1; FPN paper, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import nms

from maskline_train.model import boxes as box_ops
from maskline_train.model.anchors import flatten_deltas, flatten_logits, pyramid_anchors
from maskline_train.spec import FIRST_LEVEL, AnchorSpec, ProposalSpec


def proposals_by_level(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    image_info: Tensor,
    anchors: AnchorSpec,
    spec: ProposalSpec,
    first_level: int = FIRST_LEVEL,
) -> tuple[Tensor, Tensor]:
    """Arguments and results of `rpn.proposal_nms`."""
    levels = pyramid_anchors(logits, anchors, first_level)
    flat_logits = [flatten_logits(x).float() for x in logits]
    flat_deltas = [flatten_deltas(x) for x in deltas]
    proposals = flat_logits[0].new_zeros((image_info.shape[0], spec.max_proposals, 4))
    counts = torch.zeros(image_info.shape[0], dtype=torch.int64, device=proposals.device)
    for image in range(image_info.shape[0]):
        kept = [
            _level_proposals(level_logits[image], level_deltas[image], level, image_info[image], spec)
            for level_logits, level_deltas, level in zip(flat_logits, flat_deltas, levels, strict=True)
        ]
        boxes, scores = torch.cat([box for box, _ in kept]), torch.cat([score for _, score in kept])
        order = torch.sort(scores, descending=True, stable=True).indices[: spec.max_proposals]
        proposals[image, : len(order)] = boxes[order]
        counts[image] = len(order)
    return proposals, counts


def _level_proposals(
    logits: Tensor, deltas: Tensor, anchors: Tensor, image_info: Tensor, spec: ProposalSpec
) -> tuple[Tensor, Tensor]:
    """Proposals of one level of one image, best first: boxes [n, 4] and logits [n]."""
    best = top_indices(logits, spec.pre_nms_per_level)
    scores = logits[best]
    boxes = box_ops.clip_to_image(box_ops.decode_deltas(deltas[best], anchors[best]), image_info)
    good = box_ops.has_min_side(boxes, spec.min_side_px) & ~(scores.sigmoid() < spec.score_thresh)
    boxes, scores = boxes[good], scores[good]
    keep = nms(boxes, scores, spec.nms_thresh)
    return boxes[keep], scores[keep]


def top_indices(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` best scores, best first, ties by the lower index.

    torch.topk alone leaves the order of ties open; a full stable sort of 200 000 scores costs ten times as much.

    Args:
        scores: [N] float.
        count: how many; fewer come back when there are fewer.

    Returns:
        [min(N, count)] int64.
    """
    if len(scores) > count:
        smallest = torch.topk(scores, count, sorted=False).values.min()
        candidates = torch.nonzero(scores >= smallest)[:, 0]
    else:
        candidates = torch.arange(len(scores), device=scores.device)
    return candidates[torch.sort(scores[candidates], descending=True, stable=True).indices[:count]]
