"""Region proposal network: its head, and the proposals from its outputs.

Letters: B images, L levels, A anchors a cell, R proposals an image, C channels, Hi Wi level i.
Ref: Faster R-CNN, section 3.1; FPN paper, section 4.1: one head for all levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from maskline_train.model.ops.proposals import proposal_nms_op
from maskline_train.spec import FIRST_LEVEL, AnchorSpec, ProposalSpec, RPNHeadSpec


class RPNHead(nn.Module):
    """3 x 3 convolutions, then objectness and box deltas of A anchors a cell; shared by all levels.

    The first convolution is `conv`, the name it had when it was the only one; those behind it are `more_convs.i`.
    """

    def __init__(self, channels: int, num_anchors: int, spec: RPNHeadSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.more_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(spec.num_convs - 1))
        self.logits = nn.Conv2d(channels, num_anchors, 1)
        self.deltas = nn.Conv2d(channels, 4 * num_anchors, 1)
        for conv in (self.conv, *self.more_convs, self.logits, self.deltas):
            assert isinstance(conv, nn.Conv2d)
            nn.init.normal_(conv.weight, std=0.01)  # Faster R-CNN, section 3.1.3
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and deltas of every level.

        Args:
            features: L tensors [B, C, Hi, Wi].

        Returns:
            L logits [B, A, Hi, Wi], and L deltas [B, 4A, Hi, Wi] with channel 4a + j for delta j of anchor a.
        """
        hidden = [self._hidden(feature) for feature in features]
        return [self.logits(x) for x in hidden], [self.deltas(x) for x in hidden]

    def _hidden(self, x: Tensor) -> Tensor:
        """What both answers are read from, [B, C, Hi, Wi] as the features of the level."""
        for conv in (self.conv, *self.more_convs):
            x = functional.relu_(conv(x))
        return x


@torch.no_grad()
def proposal_nms(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    image_info: Tensor,
    anchors: AnchorSpec,
    spec: ProposalSpec,
    first_level: int = FIRST_LEVEL,
) -> tuple[Tensor, Tensor]:
    """Proposals from the outputs of the RPN head; takes no gradient.

    Args:
        logits: L tensors [B, A, Hi, Wi].
        deltas: L tensors [B, 4A, Hi, Wi].
        image_info: [B, 6].
        anchors: sizes and ratios.
        spec: counts and thresholds.
        first_level: number of the finest level; the others follow.

    Returns:
        proposals [B, R, 4] float32 xyxy canvas px, best logit first (ties: the lower level, then the lower flattened
        anchor index), rows past the count zero; and their count [B] int64.
    """
    found: tuple[Tensor, Tensor] = proposal_nms_op(
        list(logits),
        list(deltas),
        image_info,
        first_level,
        anchors.sizes_px,
        anchors.aspect_ratios,
        anchors.rounded,
        anchors.centre_offset,
        anchors.stride_of_cells,
        spec.pre_nms_per_level,
        spec.max_proposals,
        spec.nms_thresh,
        spec.min_side_px,
        spec.score_thresh,
    )
    return found
