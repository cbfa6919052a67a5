"""Proposals by our kernels.

Letters: B images, L levels, A anchors a cell, R proposals an image, Hi Wi level i.
Ref: plugins/proposal_nms/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from maskline_host.proposal_nms import ProposalNMS, config_of
from torch import Tensor

from maskline_train.model.anchors import level_strides
from maskline_train.model.ops.kernels import Kernels, in_layout
from maskline_train.spec import AnchorSpec, ProposalSpec

_NO_SIDE = -1000.0  # as log of a box's share of its anchor's side: its exponential is zero in float32


def kernels_take(logits: Sequence[Tensor], anchors: AnchorSpec, first_level: int) -> bool:
    """Whether a call is within what the kernels can: anchors as far apart down as across, float32 or less."""
    strides = level_strides(logits, anchors, first_level)
    return all(down == across for down, across in strides) and logits[0].dtype != torch.float64


def propose(
    kernels: Kernels,
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    image_info: Tensor,
    anchors: AnchorSpec,
    spec: ProposalSpec,
    first_level: int,
) -> tuple[Tensor, Tensor]:
    """Arguments and results of `rpn.proposal_nms`."""
    op = ProposalNMS(
        strides=tuple(down for down, _ in level_strides(logits, anchors, first_level)),
        anchor_sizes=anchors.sizes_px,
        aspect_ratios=anchors.aspect_ratios,
        anchor_rounded=anchors.rounded,
        anchor_centre_offset=anchors.centre_offset,
        pre_nms_per_level=spec.pre_nms_per_level,
        max_proposals=spec.max_proposals,
        nms_thresh=spec.nms_thresh,
        min_side=spec.min_side_px,
    )
    batch, device = len(image_info), image_info.device
    config = config_of(op, batch, [(level.shape[2], level.shape[3]) for level in logits])
    scores = [in_layout(level.float()) for level in logits]
    moves = [in_layout(level.float()) for level in deltas]
    if spec.score_thresh > 0:
        moves = [_without_low_scores(*level, spec.score_thresh) for level in zip(scores, moves, strict=True)]
    proposals = torch.empty((batch, spec.max_proposals, 4), dtype=torch.float32, device=device)
    counts = torch.empty(batch, dtype=torch.int32, device=device)
    workspace = kernels.workspace("proposal_nms", config, device)
    arguments = [in_layout(image_info.float()), scores, moves, proposals, counts, workspace]
    kernels.call("proposal_nms", config, arguments, device)
    return proposals, counts.to(torch.int64)


def _without_low_scores(logits: Tensor, deltas: Tensor, score_thresh: float) -> Tensor:
    """The deltas of a level, but for anchors below the score cut, whose boxes get no sides.

    The kernels drop those where the cut belongs: behind the choice of the best anchors, before NMS.
    """
    low = (logits.sigmoid() < score_thresh).unsqueeze(2)  # [B, A, 1, Hi, Wi]
    by_anchor = deltas.reshape(-1, logits.shape[1], 4, *logits.shape[2:])  # [B, A, 4, Hi, Wi]
    return by_anchor.masked_fill(low, _NO_SIDE).flatten(1, 2)
