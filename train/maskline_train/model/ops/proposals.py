"""`maskline::proposal_nms`: proposals of fixed number from the outputs of the RPN head, without a gradient.

Letters: B images, L levels, A anchors a cell, R proposals an image, Hi Wi level i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskline_train.model.ops import proposal_kernels
from maskline_train.model.ops.kernels import kernels_for
from maskline_train.model.proposals import proposals_by_level
from maskline_train.spec import AnchorSpec, ProposalSpec


@torch.library.custom_op("maskline::proposal_nms", mutates_args=())
def proposal_nms_op(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    image_info: Tensor,
    first_level: int,
    sizes_px: Sequence[float],
    aspect_ratios: Sequence[float],
    rounded: bool,
    centre_offset: float,
    stride_of_cells: bool,
    pre_nms_per_level: int,
    max_proposals: int,
    nms_thresh: float,
    min_side_px: float,
    score_thresh: float,
) -> tuple[Tensor, Tensor]:
    """What `rpn.proposal_nms` says, the specs as plain values.

    Args:
        logits: L tensors [B, A, Hi, Wi].
        deltas: L tensors [B, 4A, Hi, Wi].
        image_info: [B, 6].
        first_level: number of the finest level.
        sizes_px: of `AnchorSpec`, as are the four arguments that follow.
        aspect_ratios: height / width.
        rounded: corner offsets.
        centre_offset: in strides.
        stride_of_cells: how far anchors are apart.
        pre_nms_per_level: of `ProposalSpec`, as are the arguments that follow.
        max_proposals: R.
        nms_thresh: IoU.
        min_side_px: of a box.
        score_thresh: objectness.

    Returns:
        proposals [B, R, 4] float32, and their number [B] int64.
    """
    anchors = AnchorSpec(tuple(sizes_px), tuple(aspect_ratios), rounded, centre_offset, stride_of_cells)
    spec = ProposalSpec(pre_nms_per_level, max_proposals, nms_thresh, min_side_px, score_thresh)
    kernels = kernels_for(image_info.device)
    if kernels is not None and proposal_kernels.kernels_take(logits, anchors, first_level):
        return proposal_kernels.propose(kernels, logits, deltas, image_info, anchors, spec, first_level)
    return proposals_by_level(logits, deltas, image_info, anchors, spec, first_level)


@proposal_nms_op.register_fake
def _proposals_like(
    logits: Sequence[Tensor], deltas: Sequence[Tensor], image_info: Tensor, *settings: Any
) -> tuple[Tensor, Tensor]:
    max_proposals = settings[7]
    proposals = logits[0].new_empty((image_info.shape[0], max_proposals, 4), dtype=torch.float32)
    return proposals, torch.empty(image_info.shape[0], dtype=torch.int64, device=proposals.device)
