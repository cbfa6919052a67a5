"""What the outcomes of all images say together.

Letters: N detections, K classes.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import Metrics, Result
from maskline_train.report.outcome import Judged, Outcome, outcome_of

BINS = 10  # of the scores, for their calibration
WORST_IMAGES, BEST_IMAGES, CROPS = 6, 4, 12
NO_THRESHOLD = 0.5  # where nothing was found right, so that no score is better than another


@dataclasses.dataclass(frozen=True)
class ClassCount:
    """One class at the threshold: objects, detections, and how many of these are right."""

    objects: int
    found: int
    right: int

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None without any."""
        return self.right / self.found if self.found else None

    @property
    def recall(self) -> float | None:
        """Share of the objects that were found; None without any."""
        return self.right / self.objects if self.objects else None


@dataclasses.dataclass(frozen=True)
class Bin:
    """Detections of like scores: how many, their mean score, the share of them that is right."""

    count: int
    score: float
    right: float


@dataclasses.dataclass(frozen=True)
class Found:
    """A place in the data set: a row of an image's results, or one of its objects, and what it was instead.

    Attributes:
        index: of the image.
        row: of the object, or of the image's results.
        weight: what it was chosen by: an object's share of the image, a detection's score.
        other: class index of what it was taken for, or lies on; None of nothing.
    """

    index: int
    row: int
    weight: float
    other: int | None = None


@dataclasses.dataclass(frozen=True)
class Findings:
    """All of it.

    Attributes:
        masks: whether objects were paired by masks, else by boxes.
        threshold: the score of best F1, over all classes; what follows is of detections with at least this one.
        curve: (score, precision, recall) from the highest score on, at most some hundred points.
        classes: of each class.
        confusion: how often an object of a class was found as another; None: missed, or found where nothing is.
        bins: of all scores, whatever the threshold; empty ones are left out.
        calibration_error: mean distance of score and share, weighted by count (ECE); None without a detection.
        worst, best: (index, likeness) of images.
        missed: the objects that nothing was found on, largest first.
        false: detections without an object of their class, most certain first.
    """

    masks: bool
    threshold: float
    curve: tuple[tuple[float, float, float], ...]
    classes: tuple[ClassCount, ...]
    confusion: dict[tuple[int | None, int | None], int]
    bins: tuple[Bin, ...]
    calibration_error: float | None
    worst: tuple[tuple[int, float], ...]
    best: tuple[tuple[int, float], ...]
    missed: tuple[Found, ...]
    false: tuple[Found, ...]


def find(dataset: CocoDataset, metrics: Metrics) -> Findings:
    """Look at every detection and every object of an evaluation.

    Args:
        dataset: the split that was evaluated.
        metrics: of its first `num_images` images.
    """
    masks = metrics.mask is not None
    grouped: dict[int, list[Result]] = defaultdict(list)
    for result in metrics.results:
        grouped[result["image_id"]].append(result)
    outcomes = [
        outcome_of(dataset, index, grouped[dataset.image_ids[index]], masks=masks)
        for index in range(metrics.num_images)
    ]
    threshold, curve = _curve(outcomes)
    judged = [one.judged(threshold) for one in outcomes]
    bins = _bins(outcomes)
    total = sum(one.count for one in bins)
    error = sum(one.count * abs(one.score - one.right) for one in bins) / total if total else None
    ranked = _ranked(judged)
    worst = ranked[:WORST_IMAGES]
    best = ranked[max(len(ranked) - BEST_IMAGES, len(worst)) :][::-1]
    return Findings(
        masks,
        threshold,
        curve,
        _classes(judged, len(dataset.classes)),
        _confusion(judged),
        bins,
        error,
        tuple(worst),
        tuple(best),
        _missed(judged),
        _false(judged),
    )


def _curve(outcomes: Sequence[Outcome]) -> tuple[float, tuple[tuple[float, float, float], ...]]:
    """The score of best F1, and the curve of precision and recall over the score."""
    scores = np.concatenate([one.scores for one in outcomes])
    right = np.concatenate([one.partner >= 0 for one in outcomes])
    objects = sum(len(one.truth) for one in outcomes)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    last = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # detections of one score come and go together
    scores, hits, counts = scores[last], hits[last], np.arange(1, len(last) + 1)[last]
    if not len(hits) or not hits[-1]:
        return NO_THRESHOLD, ()
    f1 = 2 * hits / (counts + objects)
    points = np.unique(np.linspace(0, len(scores) - 1, 200).astype(int))
    rows = zip(scores[points], hits[points] / counts[points], hits[points] / objects, strict=True)
    return float(scores[f1.argmax()]), tuple((float(a), float(b), float(c)) for a, b, c in rows)


def _classes(judged: Sequence[Judged], count: int) -> tuple[ClassCount, ...]:
    objects, found, right = np.zeros((3, count), np.int64)
    for image in judged:
        labels = image.outcome.labels[: image.sure]
        np.add.at(objects, image.outcome.truth, 1)
        np.add.at(found, labels, 1)
        np.add.at(right, labels[image.partner >= 0], 1)
    return tuple(ClassCount(int(a), int(b), int(c)) for a, b, c in zip(objects, found, right, strict=True))


def _confusion(judged: Sequence[Judged]) -> dict[tuple[int | None, int | None], int]:
    counted: Counter[tuple[int | None, int | None]] = Counter()
    for image in judged:
        one = image.outcome
        for i, own in enumerate(image.partner.tolist()):
            partner = own if own >= 0 else image.confused.get(i)
            counted[None if partner is None else int(one.truth[partner]), int(one.labels[i])] += 1
        for j in image.missed:
            counted[int(one.truth[j]), None] += 1
    return dict(counted)


def _bins(outcomes: Sequence[Outcome]) -> tuple[Bin, ...]:
    scores = np.concatenate([one.scores for one in outcomes]).astype(np.float64)
    right = np.concatenate([one.partner >= 0 for one in outcomes])
    which = np.minimum((scores * BINS).astype(int), BINS - 1)
    inside = [which == k for k in range(BINS)]
    return tuple(Bin(int(k.sum()), float(scores[k].mean()), float(right[k].mean())) for k in inside if k.any())


def _ranked(judged: Sequence[Judged]) -> list[tuple[int, float]]:
    """(index, likeness) of the images with something in them, worst first; of like ones the fullest is the last."""
    likeness = [(image.likeness(), len(image.outcome.truth), image.outcome.index) for image in judged]
    known = sorted((value, objects, index) for value, objects, index in likeness if value is not None)
    return [(index, value) for value, _, index in known]


def _missed(judged: Sequence[Judged]) -> tuple[Found, ...]:
    every = (Found(one.outcome.index, j, float(one.outcome.shares[j])) for one in judged for j in one.missed)
    return tuple(heapq.nlargest(CROPS, every, key=lambda found: found.weight))


def _false(judged: Sequence[Judged]) -> tuple[Found, ...]:
    every = (found for image in judged for found in _false_of(image))
    return tuple(heapq.nlargest(CROPS, every, key=lambda found: found.weight))


def _false_of(image: Judged) -> list[Found]:
    """The detections of an image that are not right."""
    one = image.outcome
    rows = np.flatnonzero(image.partner < 0).tolist()
    names = {i: int(one.truth[image.confused[i]]) if i in image.confused else None for i in rows}
    return [Found(one.index, int(one.results[i]), float(one.scores[i]), names[i]) for i in rows]
