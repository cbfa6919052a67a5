"""What became of each object and of each detection of an image.

Letters: N detections, G objects, P pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from maskline_coco.matching import match_in_order
from maskline_coco.segmentation import to_rle
from pycocotools import mask as coco_mask

from maskline_train.data.coco import CocoDataset
from maskline_train.evaluation.evaluate import Result

MIN_IOU = 0.5  # of an object that counts as found, as for AP50
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One image. It keeps a few numbers a detection, no mask: of 5000 images some ten MB.

    Attributes:
        index: of the image in its data set.
        results: [N] which of the image's results the rows are, best first; those on crowd regions are left out.
        scores: [N].
        labels: [N] class indices.
        partner: [N] the object of its own class that a detection found, or -1.
        truth: [G] class indices of the objects.
        shares: [G] of the image, that an object's box covers.
        pairs: [P, 2] rows and objects of any class with an IoU of at least 0.5.
        ious: [P].
    """

    index: int
    results: Integers
    scores: Floats
    labels: Integers
    partner: Integers
    truth: Integers
    shares: Floats
    pairs: Integers
    ious: Floats

    def judged(self, min_score: float) -> Judged:
        """By the rows of at least this score."""
        sure = int((self.scores >= min_score).sum())
        found = self.partner[:sure]
        overlaps = self._dense(sure)
        overlaps[found >= 0] = 0.0
        overlaps[:, found[found >= 0]] = 0.0
        other = match_in_order(overlaps, MIN_IOU)
        confused = {int(i): int(other[i]) for i in np.flatnonzero(other >= 0)}
        seen = {*found.tolist(), *confused.values()}
        return Judged(self, sure, confused, [j for j in range(len(self.truth)) if j not in seen])

    def _dense(self, count: int) -> npt.NDArray[np.float64]:
        """IoU [count, G] of the first rows, 0 where it is below 0.5."""
        overlaps = np.zeros((len(self.scores), len(self.truth)))
        overlaps[self.pairs[:, 0], self.pairs[:, 1]] = self.ious
        return overlaps[:count]


@dataclasses.dataclass(frozen=True)
class Judged:
    """An image by its rows of at least one score.

    Attributes:
        outcome: of the image.
        sure: how many of its rows have that score.
        confused: of these, those without an object of their class: the object of another class that each lies on, which
            no row of its own class has found.
        missed: the objects that no row has found, under whatever name.
    """

    outcome: Outcome
    sure: int
    confused: dict[int, int]
    missed: list[int]

    @property
    def partner(self) -> Integers:
        """[sure] the object of its own class that each row found, or -1."""
        return self.outcome.partner[: self.sure]

    def likeness(self) -> float | None:
        """Mean IoU, 0 for what is on one side alone: 1 where just the objects were found; None of nothing at all."""
        one = self.outcome
        ious = {(int(i), int(j)): float(iou) for (i, j), iou in zip(one.pairs, one.ious, strict=True)}
        hits = [ious[i, int(j)] for i, j in enumerate(self.partner) if j >= 0]
        total = self.sure + len(one.truth) - len(hits)
        return sum(hits) / total if total else None


def outcome_of(dataset: CocoDataset, index: int, results: Sequence[Result], *, masks: bool) -> Outcome:
    """Pair the results of an image with its objects.

    Args:
        dataset: the ground truth.
        index: of the image.
        results: of this image, best first.
        masks: pair by the IoU of masks; else of boxes.
    """
    truth = dataset.objects(index)
    height, width = dataset.sizes[index]
    labels = np.array([dataset.category_ids.index(result["category_id"]) for result in results], np.int32)
    shapes = [result["segmentation"] if masks else result["bbox"] for result in results]
    objects = list(truth.each_mask.rles) if masks else _xywh(truth.boxes)
    overlaps = _iou(shapes, objects, crowd=False)
    partner = match_in_order(np.where(labels[:, None] == truth.labels[None], overlaps, 0.0), MIN_IOU)
    kept = np.flatnonzero((partner >= 0) | ~_on_crowd(dataset, index, shapes, labels, masks=masks))
    pairs = np.argwhere(overlaps[kept] >= MIN_IOU)
    return Outcome(
        index,
        kept.astype(np.int32),
        np.array([result["score"] for result in results], np.float32)[kept],
        labels[kept],
        partner[kept].astype(np.int32),
        truth.labels.astype(np.int32),
        ((truth.boxes[:, 2:] - truth.boxes[:, :2]).prod(axis=1) / (height * width)).astype(np.float32),
        pairs.astype(np.int32),
        overlaps[kept][pairs[:, 0], pairs[:, 1]].astype(np.float32),
    )


def _on_crowd(
    dataset: CocoDataset, index: int, shapes: Sequence[object], labels: Integers, *, masks: bool
) -> npt.NDArray[np.bool_]:
    """[N] whether a detection lies by half or more on a crowd region of its class, which tells nothing of it."""
    size = dataset.sizes[index]
    crowds = [a for a in dataset[index].annotations if a.iscrowd and (a.segmentation or not masks)]
    regions = [to_rle(a.segmentation, *size) if masks else list(a.bbox_xywh) for a in crowds]
    alike = labels[:, None] == np.array([a.label for a in crowds], np.int32)[None]
    on: npt.NDArray[np.bool_] = ((_iou(shapes, regions, crowd=True) >= MIN_IOU) & alike).any(axis=1)
    return on


def _iou(shapes: Sequence[object], others: Sequence[object], *, crowd: bool) -> npt.NDArray[np.float64]:
    """[N, G] IoU; with `crowd` the share of each shape that lies on the other."""
    if not shapes or not others:
        return np.zeros((len(shapes), len(others)))
    return np.asarray(coco_mask.iou(list(shapes), list(others), [int(crowd)] * len(others)), np.float64)


def _xywh(boxes: Floats) -> list[list[float]]:
    return [[float(x0), float(y0), float(x1) - float(x0), float(y1) - float(y0)] for x0, y0, x1, y1 in boxes]
