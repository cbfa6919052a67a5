"""Numbers that say how far two results are apart, and whether that is near enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from maskline_coco.matching import BEYOND_LAST_PIXEL
from maskline_train.evaluation.paste import Rle
from pycocotools import mask as coco_mask

Array = npt.NDArray[np.generic]

LISTED_REASONS = 3  # of near-ties, in a row


def with_sides(boxes: Array, labels: Array) -> npt.NDArray[np.float32]:
    """Edges of detections [..., 4] by their first and last pixels; rows of padding, of label [...] -1, stay zero."""
    real = labels.astype(np.int64)[..., None] >= 0
    edges: npt.NDArray[np.float32] = boxes.astype(np.float32) + np.where(real, BEYOND_LAST_PIXEL, 0)
    return edges


@dataclasses.dataclass
class StageRow:
    """The comparison of one stage, over all images seen so far.

    Attributes:
        stage: what is compared, a word a reader knows.
        tolerance: the largest `max_error` that passes, as a share of the largest reference value (`relative`)
            or in the stage's own unit.
        unit: unit of the errors, e.g. "px".
        relative: how `tolerance` is read.
        min_matched: the smallest share of matched rows that passes; 0 where rows are not matched.
        max_error: largest absolute difference.
        p99_error: largest 99th percentile of the absolute difference of an image.
        scale: largest absolute reference value.
        matched: smallest share of matched rows of an image, near-ties left out; 1 where rows are not matched.
        near_ties: rows that are left out: the reference's own decision hangs on less than the other side's error.
        reasons: what some of those hang on, a line each.
        compared: in how many images the stage could be seen.
    """

    stage: str
    tolerance: float
    unit: str = ""
    relative: bool = False
    min_matched: float = 0.0
    max_error: float = 0.0
    p99_error: float = 0.0
    scale: float = 0.0
    matched: float = 1.0
    near_ties: int = 0
    reasons: list[str] = dataclasses.field(default_factory=list)
    compared: int = 0

    @property
    def limit(self) -> float:
        """The largest absolute error that passes."""
        return self.tolerance * self.scale if self.relative else self.tolerance

    @property
    def ok(self) -> bool:
        """True when the stage agrees; a NaN anywhere does not."""
        return bool(self.max_error <= self.limit and self.matched >= self.min_matched)

    def add(self, reference: Array, other: Array) -> None:
        """Compare two arrays of one image; shapes that differ count as infinite error."""
        self.compared += 1
        if reference.shape != other.shape:
            self.max_error = self.p99_error = float("inf")
            return
        if reference.size == 0:
            return
        error = np.abs(reference.astype(np.float64) - other.astype(np.float64))
        worst = float(error.max())
        self.max_error = worst if np.isnan(worst) else max(self.max_error, worst)
        self.p99_error = max(self.p99_error, float(np.percentile(error, 99)))
        self.scale = max(self.scale, float(np.abs(reference.astype(np.float64)).max()))

    def add_match(self, share: float, reasons: Sequence[str] = ()) -> None:
        """Count the matched share of one image, and what its near-ties hang on, one each."""
        self.matched = min(self.matched, share)
        self.near_ties += len(reasons)
        self.reasons += reasons[: max(0, LISTED_REASONS - len(self.reasons))]


def pasted_error(mask: Rle, least: Rle, most: Rle, found: Rle) -> float:
    """1 - IoU of two pasted masks, of which not both are empty, over the pixels that are decided.

    Args:
        mask: ours.
        least: the pixels that ours has whatever is rounded otherwise.
        most: all that it may have; what lies between counts for neither side, since one of 16 pixels would be 6 %.
        found: the other side's.
    """
    union = int(coco_mask.area(coco_mask.merge([mask, found])))
    missing = int(coco_mask.area(least)) - _shared(found, least)
    return (missing + int(coco_mask.area(found)) - _shared(found, most)) / union


def _shared(mask: Rle, other: Rle) -> int:
    """Pixels that both have."""
    return int(coco_mask.area(coco_mask.merge([mask, other], intersect=True)))
