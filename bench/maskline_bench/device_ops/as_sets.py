"""Two sides' boxes compared as sets: one decision of NMS at its threshold shifts every later row, and is no error.

Letters: N, M boxes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

SAME_IOU = 0.99  # float32 moves a box of some px by less; another anchor's box overlaps at most the NMS threshold, 0.7
UNMATCHED_SHARE = 0.01  # of the rows: a decision at the threshold changes a box or two of a thousand


def unmatched_share(
    ours: Tensor,
    theirs: Tensor,
    our_labels: Tensor | None = None,
    labels: Tensor | None = None,
    same_iou: float = SAME_IOU,
) -> float:
    """Share of the rows, of the side that has more, without a partner on the other side: IoU, and label where given.

    Args:
        ours: [N, 4] xyxy, px.
        theirs: [M, 4] xyxy, px.
        our_labels: [N].
        labels: [M] of theirs.
        same_iou: of two boxes that are partners, at least.
    """
    most = max(len(ours), len(theirs))
    if min(len(ours), len(theirs)) == 0:
        return float(most > 0)
    iou = box_iou(ours.double(), theirs.double())
    if our_labels is not None and labels is not None:
        iou = iou * (our_labels[:, None] == labels[None, :])
    best, partner = iou.max(dim=1)
    mutual = iou.argmax(dim=0)[partner] == torch.arange(len(ours), device=iou.device)
    return 1.0 - int((mutual & (best >= same_iou)).sum()) / most
