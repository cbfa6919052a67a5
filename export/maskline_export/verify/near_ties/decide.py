"""Which decisions the reference itself cannot make within an error: near-ties of scores, overlaps, cuts and places.

Two runtimes whose scores differ in the last bit keep different boxes where two scores are as good as equal, where an
overlap is as good as the threshold, where a score lies at the cut. That says nothing against either. What a box's fate
hangs on is followed from box to box: one whose only rival is undecided is undecided too.

Letters: N candidates.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Float32: areas and their sum, difference and quotient are rounded, five roundings of 2^-24 each.
_ROUNDED_OVERLAP = 5 * 2.0**-24
_LEAST_AREA = 1e-12  # square pixels: of boxes without area the overlap is 0 and may be anything


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Boxes that may be kept.

    Attributes:
        boxes: [N, 4] xyxy.
        scores: [N].
        groups: [N] class or level; boxes of two groups do not suppress each other.
        sure: [N] whether it is surely a candidate: its score clear of the cut, its sides of the smallest, and so on.
        error_px: [N] how far its box may be off.
    """

    boxes: Floats
    scores: Floats
    groups: npt.NDArray[np.int64]
    sure: Flags
    error_px: Floats


@dataclasses.dataclass(frozen=True)
class Rule:
    """What decides: the overlap above which the lower score goes, and how many are kept; `cut` is for the text."""

    nms_thresh: float
    keep: int
    cut: float | None = None


@dataclasses.dataclass(frozen=True)
class Decided:
    """The fate of each candidate: kept whatever is rounded, kept perhaps, or neither."""

    candidates: Candidates
    rule: Rule
    score_error: float
    kept: Flags
    perhaps: Flags

    def reason(self, index: int) -> str:
        """Why the fate of a candidate is undecided, in words."""
        pool, score = self.candidates, self.candidates.scores[index]
        if self.rule.cut is not None and abs(score - self.rule.cut) <= self.score_error:
            return f"score {score:.6g} at the cut {self.rule.cut:g}"
        same = np.flatnonzero((pool.groups == pool.groups[index]) & self.perhaps)
        rivals = same[same != index]
        overlaps, errors = overlaps_of(pool, index, rivals)
        off = np.abs(overlaps - self.rule.nms_thresh)
        near = np.flatnonzero(off <= errors)
        if len(near):
            first = near[np.argmin(off[near])]
            if errors[first] >= self.rule.nms_thresh:
                sides = pool.boxes[index, 2:] - pool.boxes[index, :2]
                return f"a box {sides.min():.2g} px wide, which may be off by {pool.error_px[index]:.2g} px"
            return f"IoU {overlaps[first]:.6g} at the threshold {self.rule.nms_thresh:g}"
        beyond = overlaps > self.rule.nms_thresh
        equal = beyond & (np.abs(pool.scores[rivals] - score) <= 2 * self.score_error)
        if equal.any():
            return f"scores {score:.6g} and {pool.scores[rivals[equal][0]]:.6g} of boxes that overlap"
        if beyond.any() or not pool.sure[index]:
            return "hangs on a box that is undecided itself"
        return f"score {score:.6g} at the last of {self.rule.keep} places"


def decide(candidates: Candidates, rule: Rule, score_error: float) -> Decided:
    """Follow greedy NMS and the choice of the best with every score off by up to `score_error`, every box by its own.

    Args:
        candidates: what NMS is given, those that are candidates only perhaps included.
        rule: what decides.
        score_error: how far a score may be off.
    """
    kept, gone = np.zeros(len(candidates.scores), bool), np.zeros(len(candidates.scores), bool)
    for group in np.unique(candidates.groups):
        members = np.flatnonzero(candidates.groups == group)
        members = members[np.argsort(-candidates.scores[members], kind="stable")]
        kept[members], gone[members] = _suppress(candidates, members, rule.nms_thresh, 2 * score_error)
    better = _count_above(candidates.scores[kept], candidates.scores + 2 * score_error)
    perhaps = ~gone & (better < rule.keep)
    as_good = _count_above(candidates.scores[~gone], candidates.scores - 2 * score_error, or_equal=True)
    return Decided(candidates, rule, score_error, kept & (as_good - 1 < rule.keep), perhaps)


def overlaps_of(pool: Candidates, one: int, others: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """IoU of a candidate with others, [n], and how far it may be off."""
    box, boxes = pool.boxes[one], pool.boxes[others]
    own, theirs = pool.error_px[one], pool.error_px[others]
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    width, height = np.maximum(width, 0), np.maximum(height, 0)
    shared = width * height
    (own_width, own_height), widths, heights = box[2:] - box[:2], boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    union = np.maximum(own_width * own_height + widths * heights - shared, _LEAST_AREA)
    # A side of the shared part moves by both boxes' errors, a side of a box by twice its own.
    shared_error = (own + theirs) * (width + height + own + theirs)
    grown = 2 * own * (own_width + own_height) + 2 * theirs * (widths + heights)
    return shared / union, (shared_error * 2 + grown) / union + _ROUNDED_OVERLAP


def _suppress(pool: Candidates, members: npt.NDArray[np.int64], thresh: float, window: float) -> tuple[Flags, Flags]:
    """Of one group, best first: which are kept and which are gone, whatever is rounded; `window` is of two scores."""
    surely, perhaps = (np.empty((len(members), len(members)), bool) for _ in range(2))
    for row, member in enumerate(members):
        overlaps, errors = overlaps_of(pool, int(member), members)
        surely[row], perhaps[row] = overlaps - errors > thresh, overlaps + errors > thresh
    scores, sure = pool.scores[members], pool.sure[members]
    before = np.searchsorted(-scores, -(scores + window), side="left")  # how many surely come before each
    rivals = np.searchsorted(-scores, -(scores - window), side="right")  # how many perhaps do, itself among them
    kept, gone = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    known = 0
    for i in range(len(scores)):
        for j in range(known, rivals[i]):  # what surely comes before j comes before i: its fate is known
            gone[j] = bool((kept[: before[j]] & surely[j, : before[j]]).any())
        known = max(known, int(rivals[i]))
        threats = perhaps[i, : rivals[i]] & ~gone[: rivals[i]]
        threats[i] = False
        kept[i] = sure[i] and not gone[i] and not threats.any()
    return kept, gone


def _count_above(scores: Floats, limits: Floats, *, or_equal: bool = False) -> npt.NDArray[np.int64]:
    """How many of `scores` are above each limit."""
    ordered = np.sort(scores)
    return len(ordered) - np.searchsorted(ordered, limits, side="left" if or_equal else "right")
