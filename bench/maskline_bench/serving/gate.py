"""The correctness gate of a serving benchmark: do both sides find the same objects?

A picture that needs no resizing reaches both networks bit for bit, so nearly every object must be the same; a few lie
on a threshold. Resized pictures differ by the rounding to 8 bits that Pillow does and torchvision does not, which
random weights amplify, as trained ones do not: there both sides must find about as many objects, so as much work.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pycocotools.mask
from numpy.typing import NDArray

from maskline_bench.errors import BenchmarkError
from maskline_bench.serving.eager import Found

MATCH_IOU = 0.9  # of boxes
MIN_SHARE = 0.97


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How two sides' objects of an image match.

    Attributes:
        ours: objects of the one.
        theirs: objects of the other.
        matched: pairs of the same class that overlap with IoU of at least 0.9, each object once, best scores first.
        mask_iou: mean IoU of the matched pairs' masks.
        score_error: largest difference of a matched pair's scores.
    """

    ours: int
    theirs: int
    matched: int
    mask_iou: float
    score_error: float

    @property
    def share(self) -> float:
        """Matched pairs over the larger number of objects; 1 where both found none."""
        return self.matched / max(self.ours, self.theirs) if self.ours or self.theirs else 1.0


def agreement(ours: Found, theirs: Found) -> Agreement:
    """Match greedily in the order of `ours`, each with the free object of its class that overlaps most."""
    free = set(range(len(theirs.labels)))
    pairs: list[tuple[int, int]] = []
    for index in range(len(ours.labels)):
        rivals = [other for other in free if theirs.labels[other] == ours.labels[index]]
        best = max(rivals, key=lambda other: _iou(ours.boxes[index], theirs.boxes[other]), default=None)
        if best is not None and _iou(ours.boxes[index], theirs.boxes[best]) >= MATCH_IOU:
            free.remove(best)
            pairs.append((index, best))
    overlaps = [float(pycocotools.mask.iou([ours.masks[a]], [theirs.masks[b]], [0])[0, 0]) for a, b in pairs]
    errors = [abs(float(ours.scores[a]) - float(theirs.scores[b])) for a, b in pairs]
    return Agreement(
        len(ours.labels), len(theirs.labels), len(pairs), float(np.mean(overlaps or [1.0])), max(errors, default=0.0)
    )


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """IoU of two boxes xyxy."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    area_a, area_b = float((a[2] - a[0]) * (a[3] - a[1])), float((b[2] - b[0]) * (b[3] - b[1]))
    return shared / max(area_a + area_b - shared, 1e-9)


def check_same_pixels(pairs: list[Agreement], min_mask_iou: float) -> None:
    """Raise BenchmarkError unless both sides find the same objects; few an image say little, so all are counted."""
    matched = sum(pair.matched for pair in pairs)
    total = sum(max(pair.ours, pair.theirs) for pair in pairs)
    mask_iou = mean_mask_iou(pairs)
    if not total or matched < MIN_SHARE * total or mask_iou < min_mask_iou:
        counts = ", ".join(f"{pair.matched} of {pair.ours} and {pair.theirs}" for pair in pairs)
        raise BenchmarkError(
            f"both sides find other objects in the same pixels: {matched} of {total} match ({counts}), mean "
            f"mask IoU {mask_iou:.3f}; expected {MIN_SHARE:.0%} and {min_mask_iou}"
        )


def check_counts(pairs: list[Agreement], tolerance: float) -> None:
    """Raise BenchmarkError unless both sides find about as many objects in the timed images."""
    ours, theirs = sum(pair.ours for pair in pairs), sum(pair.theirs for pair in pairs)
    if not theirs or abs(ours - theirs) > tolerance * theirs:
        raise BenchmarkError(
            f"ours finds {ours} objects in the timed images, theirs {theirs}; expected a difference of at most "
            f"{tolerance:.0%}: the two sides would not do the same work"
        )


def mean_mask_iou(pairs: list[Agreement]) -> float:
    """Mean over all matched objects; 0 where there are none."""
    return sum(pair.mask_iou * pair.matched for pair in pairs) / max(1, sum(pair.matched for pair in pairs))
