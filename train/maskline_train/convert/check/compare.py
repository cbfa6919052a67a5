"""How far the answers of two networks to the same pictures are apart, and whether they are the same network.

Letters: N, G detections of the two, J keypoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from maskline_coco.matching import match_boxes
from pycocotools import mask as coco_mask
from rich.table import Table

from maskline_train.convert.check.answers import Answer

SCORE = 0.5  # of the detections that have to be found: lower ones come and go with a rounding
MIN_IOU = 0.9  # of two boxes of one object: room for other rounding and resizing, and none for another convention
MIN_SHARE = 0.95  # of detections that both find: what is known to differ moves a score across a threshold now and then


@dataclasses.dataclass
class Comparison:
    """Differences over all pictures seen so far.

    Attributes:
        pictures: how many.
        counted: detections of either side from `SCORE` on.
        found: those of them that the other side has, too.
        boxes: largest coordinate difference of each matched pair, px.
        scores: difference of each.
        masks: IoU of each; 1 where both are empty.
        keypoints: distance of each keypoint of each, px.
        pixel_boxes: of the spec.
    """

    pictures: int = 0
    counted: int = 0
    found: int = 0
    boxes: list[float] = dataclasses.field(default_factory=list)
    scores: list[float] = dataclasses.field(default_factory=list)
    masks: list[float] = dataclasses.field(default_factory=list)
    keypoints: list[float] = dataclasses.field(default_factory=list)
    pixel_boxes: bool = False

    @property
    def share(self) -> float:
        """Of the counted detections, those that both have."""
        return self.found / self.counted if self.counted else 0.0

    @property
    def same(self) -> bool:
        """Whether the two are one network, as far as these pictures tell."""
        return self.share >= MIN_SHARE

    def add(self, source: Answer, ours: Answer) -> None:
        """One picture. Pairs are of one class, best IoU first, each detection once."""
        allowed = source.labels[:, None] == ours.labels[None]
        partner = match_boxes(source.boxes, ours.boxes, allowed, MIN_IOU, self.pixel_boxes)
        rows = np.flatnonzero(partner >= 0)
        columns = partner[rows]
        self.pictures += 1
        self.counted += int((source.scores >= SCORE).sum() + (ours.scores >= SCORE).sum())
        self.found += int((source.scores[rows] >= SCORE).sum() + (ours.scores[columns] >= SCORE).sum())
        self.boxes += np.abs(source.boxes[rows] - ours.boxes[columns]).max(1).tolist()
        self.scores += np.abs(source.scores[rows] - ours.scores[columns]).tolist()
        if source.masks is not None and ours.masks is not None:
            theirs, mine = source.masks, ours.masks
            self.masks += [_mask_iou(theirs[i], mine[j]) for i, j in zip(rows, columns, strict=True)]
        if source.keypoints is not None and ours.keypoints is not None:
            distances = np.linalg.norm(source.keypoints[rows] - ours.keypoints[columns], axis=-1)
            self.keypoints += distances.flatten().tolist()

    def line(self) -> str:
        """In one line: the share, and how far boxes are apart."""
        median, p99, worst = _spread(self.boxes)
        apart = f", boxes {median} px apart (median; p99 {p99}, worst {worst})" if self.boxes else ""
        return f"{100 * self.share:.1f} % of {self.counted} detections in common{apart}"

    def rows(self) -> list[tuple[str, ...]]:
        """What, median, 99th percentile, largest, unit; only the first row decides."""
        verdict = "ok" if self.same else f"expected at least {100 * MIN_SHARE:.0f} %"
        rows: list[tuple[str, ...]] = [
            (f"found by both, score {SCORE} on", "", "", f"{100 * self.share:.1f} %", f"of {self.counted}: {verdict}"),
            ("boxes", *_spread(self.boxes), "px"),
            ("scores", *_spread(self.scores), ""),
        ]
        if self.masks:
            equal = sum(value == 1 for value in self.masks)
            rows.append(("masks", *_spread([1 - value for value in self.masks]), "1 - IoU"))
            rows.append(("masks that are equal", "", "", f"{100 * equal / len(self.masks):.1f} %", ""))
        if self.keypoints:
            rows.append(("keypoints", *_spread(self.keypoints), "px"))
        return rows


def agreement_table(source: str, sides: Mapping[str, Comparison]) -> Table:
    """The source against each of some sides, one below the other."""
    table = Table(title=f"{source} against", title_justify="left", box=None, pad_edge=False)
    for column in ("", "", "median", "p99", "worst", "unit"):
        table.add_column(column, justify="left" if column in ("", "unit") else "right")
    for side, comparison in sides.items():
        first, *others = comparison.rows()
        table.add_row(side, *first)
        for row in others:
            table.add_row("", *row)
    return table


def _mask_iou(mask: dict[str, object], other: dict[str, object]) -> float:
    union = int(coco_mask.area(coco_mask.merge([mask, other])))
    return int(coco_mask.area(coco_mask.merge([mask, other], intersect=True))) / union if union else 1.0


def _spread(values: list[float]) -> list[str]:
    """Median, 99th percentile and largest."""
    if not values:
        return ["", "", ""]
    numbers: npt.NDArray[np.float64] = np.array(values)
    return [f"{value:.2g}" for value in (np.median(numbers), np.percentile(numbers, 99), numbers.max())]
