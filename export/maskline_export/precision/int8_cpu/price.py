"""What int8 brings and costs: both artifacts on the same images in turn, their seconds and what they find."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from maskline_coco.matching import match_boxes

from maskline_export.verify.onnx_runtime import OnnxPipeline, Tensors

MIN_IOU = 0.5  # of boxes, as in the loosest AP
# Scores from which a detection counts: what the box head gives by itself, and what the client shows by itself.
SCORES = (0.05, 0.5)


@dataclasses.dataclass
class Found:
    """How many detections of both sides have a partner of the same class on the other.

    Attributes:
        detections: of both sides, with at least the score that they are counted from.
        matched: those with a partner of any score.
        mask_ious: of each matched pair's cells, thresholded at a half; empty without a mask stage.
    """

    detections: int = 0
    matched: int = 0
    mask_ious: list[float] = dataclasses.field(default_factory=list)

    @property
    def share(self) -> float:
        """Matched detections over all; 1 where there are none."""
        return self.matched / self.detections if self.detections else 1.0


@dataclasses.dataclass(frozen=True)
class Price:
    """The comparison on all images.

    Attributes:
        images: how many.
        seconds: side (`float32`, `int8`) to stage to the seconds of each image.
        found: lowest score to what was matched.
    """

    images: int
    seconds: dict[str, dict[str, list[float]]]
    found: dict[float, Found]

    def median(self, side: str, stage: str | None = None) -> float:
        """Median seconds of a stage, or of all together."""
        stages = self.seconds[side]
        totals = stages[stage] if stage else [sum(parts) for parts in zip(*stages.values(), strict=True)]
        return statistics.median(totals)

    @property
    def times_as_fast(self) -> float:
        """Float's median over int8's."""
        return self.median("float32") / self.median("int8")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "images": self.images,
            "times_as_fast": self.times_as_fast,
            "median_s": {
                side: {stage: self.median(side, stage) for stage in stages} for side, stages in self.seconds.items()
            },
            "detections": {
                str(score): {
                    "counted": found.detections,
                    "matched": found.share,
                    "median_mask_iou": statistics.median(found.mask_ious) if found.mask_ious else None,
                }
                for score, found in self.found.items()
            },
        }


def compare(source: Path, rounded: Path, images: Iterable[Tensors], library: Path | None) -> Price:
    """Run every image through both artifacts, in turn.

    Args:
        source: the float32 artifact.
        rounded: the int8 one.
        images: `canvas` [1, H, W, 3] and `image_info` [1, 6]. The first is run once more at the beginning, uncounted.
        library: `libmaskline_ort.so`, or None: the bodies of our ops.
    """
    sides = {"float32": OnnxPipeline(source, library=library), "int8": OnnxPipeline(rounded, library=library)}
    price = Price(0, {name: {stage: [] for stage in side.stages} for name, side in sides.items()}, _nothing())
    count = 0
    for tensors in images:
        if count == 0:
            for side in sides.values():
                side.detect(tensors["canvas"], tensors["image_info"])  # type: ignore[arg-type]
        answers = [_run(side, tensors, price.seconds[name]) for name, side in sides.items()]
        for score, found in price.found.items():
            count_found(found, answers[0], answers[1], score)
            count_found(found, answers[1], answers[0], score)
        count += 1
    return dataclasses.replace(price, images=count)


def _nothing() -> dict[float, Found]:
    return {score: Found() for score in SCORES}


def _run(side: OnnxPipeline, tensors: Tensors, seconds: dict[str, list[float]]) -> Tensors:
    values = dict(tensors)
    for name, stage in side.stages.items():
        start = time.perf_counter()
        values |= stage.run(values)
        seconds[name].append(time.perf_counter() - start)
    return values


def count_found(found: Found, one: Tensors, other: Tensors, score: float) -> None:
    """Add the detections of an image's first side that have at least this score, and their partners."""
    (boxes, labels), (others, names) = _detections(one), _detections(other)
    counted = one["scores"][0, : len(labels)].astype(np.float32) >= score
    partner = match_boxes(boxes, others, labels[:, None] == names[None], MIN_IOU)
    found.detections += int(counted.sum())
    found.matched += int((partner[counted] >= 0).sum())
    if "masks" in one:
        for index in np.flatnonzero(counted & (partner >= 0)):
            a, b = (side["masks"][0, row] >= 0.5 for side, row in ((one, index), (other, partner[index])))
            union = int((a | b).sum())
            found.mask_ious.append(int((a & b).sum()) / union if union else 1.0)  # two empty masks are the same


def _detections(answer: Tensors) -> tuple[Any, Any]:
    """Boxes [N, 4] and labels [N] of the one image."""
    count = int(answer["num_detections"][0, 0])
    return answer["boxes"][0, :count], answer["labels"][0, :count]
