"""Region proposal network: its head, and `proposal_nms`, the torch path of the op `ProposalNMS`.

Letters: B images, L levels, A anchors a cell, R proposals an image, C channels, Hi Wi level i.
Ref: Faster R-CNN, section 3.1; FPN paper, section 4.1: one head for all levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import nms

from maskline_train.model import boxes as box_ops
from maskline_train.model.anchors import level_anchors
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


def flatten_logits(logits: Tensor) -> Tensor:
    """[B, A, Hi, Wi] to [B, Hi * Wi * A] in the anchors' order (y, x, a)."""
    return logits.permute(0, 2, 3, 1).flatten(1)


def flatten_deltas(deltas: Tensor) -> Tensor:
    """[B, 4A, Hi, Wi] to [B, Hi * Wi * A, 4] in the anchors' order (y, x, a)."""
    batch, channels, height, width = deltas.shape
    return deltas.permute(0, 2, 3, 1).reshape(batch, height * width * (channels // 4), 4)


def pyramid_anchors(logits: Sequence[Tensor], spec: AnchorSpec, first_level: int = FIRST_LEVEL) -> list[Tensor]:
    """Anchors [Hi * Wi * A, 4] of each level, float32 xyxy canvas px, for L logits [B, A, Hi, Wi], finest first."""
    sizes = [(level.shape[2], level.shape[3]) for level in logits]
    finest = sizes[0]
    anchors = []
    for index, (height, width) in enumerate(sizes):
        strides = (2 ** (first_level + index),) * 2
        if spec.stride_of_cells:  # the finest level's stride divides every canvas
            strides = ((finest[0] << first_level) // height, (finest[1] << first_level) // width)
        of_level = spec.sizes_of_level(index, len(logits))
        anchors.append(level_anchors((height, width), strides, of_level, spec, logits[index].device))
    return anchors


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
