"""Which objects of two answers are the same, and how far apart they are. Letters: N and G objects."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from maskline_coco.matching import iou_matrix, match_boxes

from maskline_client import rle
from maskline_client.detections import Detections

MIN_IOU = 0.5  # of boxes, as in the loosest AP


@dataclasses.dataclass(frozen=True)
class Pair:
    """One object that both found.

    Attributes:
        a, b: its rows in the two answers.
        name: its class in the first answer.
        box_iou: 0..1.
        mask_iou: 0..1; None where a side has no masks.
        score_change: the second score less the first.
    """

    a: int
    b: int
    name: str
    box_iou: float
    mask_iou: float | None
    score_change: float


@dataclasses.dataclass(frozen=True)
class ImagePairs:
    """What two answers for one image have in common.

    Attributes:
        pairs: objects of the same class that both found.
        flips: objects that both found, as another class.
        only_a, only_b: rows of those that one side alone found.
        count_a, count_b: objects that each side is sure of.
    """

    pairs: tuple[Pair, ...]
    flips: tuple[Pair, ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    count_a: int
    count_b: int

    @property
    def likeness(self) -> float:
        """1 where both found the same, 0 where nothing is: the mean IoU, with 0 for an object that one side found."""
        ious = [pair.box_iou if pair.mask_iou is None else pair.mask_iou for pair in self.pairs]
        total = len(ious) + len(self.flips) + len(self.only_a) + len(self.only_b)
        return sum(ious) / total if total else 1.0


def pair_objects(a: Detections, b: Detections, score_thresh: float) -> ImagePairs:
    """Pair the objects of two answers for one image.

    An object counts where at least one side gives it `score_thresh`: what one side is sure of may have any score on the
    other, so that an object whose score has moved across the threshold is one that moved and not one that is missing.
    Pairs are of one class first, best IoU of the boxes first; what is left is paired whatever its class.
    """
    same_class = np.array([[one == other for other in b.names] for one in a.names], bool).reshape(len(a), len(b))
    sure = (a.scores >= score_thresh)[:, None] | (b.scores >= score_thresh)[None]
    overlaps = iou_matrix(a.boxes, b.boxes)
    partner = match_boxes(a.boxes, b.boxes, same_class & sure, MIN_IOU)
    left = (partner < 0)[:, None] & ~np.isin(np.arange(len(b)), partner)[None]
    other = match_boxes(a.boxes, b.boxes, left & sure, MIN_IOU)
    paired_a, paired_b = (partner >= 0) | (other >= 0), np.union1d(partner, other)
    return ImagePairs(
        _pairs(a, b, partner, overlaps),
        _pairs(a, b, other, overlaps),
        tuple(int(i) for i in np.flatnonzero(~paired_a & (a.scores >= score_thresh))),
        tuple(int(j) for j in np.flatnonzero(~np.isin(np.arange(len(b)), paired_b) & (b.scores >= score_thresh))),
        int((a.scores >= score_thresh).sum()),
        int((b.scores >= score_thresh).sum()),
    )


def _pairs(
    a: Detections, b: Detections, partner: npt.NDArray[np.int64], overlaps: npt.NDArray[np.float64]
) -> tuple[Pair, ...]:
    """The pairs that `partner` [N] tells, of the rows of `overlaps` [N, G]."""
    return tuple(
        Pair(
            int(i),
            int(partner[i]),
            a.names[i],
            float(overlaps[i, partner[i]]),
            None if a.rle is None or b.rle is None else rle.iou(a.rle[i], b.rle[partner[i]]),
            float(b.scores[partner[i]] - a.scores[i]),
        )
        for i in np.flatnonzero(partner >= 0)
    )
