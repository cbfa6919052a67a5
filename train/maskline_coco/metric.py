"""pycocotools' COCOeval: statistics and class APs of results. Ref: ledger P43."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

STATISTICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")  # the first six of COCOeval.stats, in its order
KEYPOINT_STATISTICS = ("AP", "AP50", "AP75", "APm", "APl")  # small persons have no keypoints in COCO


def average_precision(
    truth: Any,
    results: Sequence[dict[str, Any]],
    kind: str,
    image_ids: Sequence[int],
    sigmas: npt.NDArray[np.float64] | None = None,
) -> tuple[dict[str, float | None], list[float | None]]:
    """The statistics and the AP of each class, of "bbox", "segm" or "keypoints"; zeros where nothing was guessed."""
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        guesses = truth.loadRes([dict(result) for result in results]) if results else _nothing(truth)  # it adds keys
        run = COCOeval(truth, guesses, kind)
        run.params.imgIds = list(image_ids)
        if sigmas is not None:
            run.params.kpt_oks_sigmas = sigmas
        run.evaluate()
        run.accumulate()
        run.summarize()
    names = KEYPOINT_STATISTICS if kind == "keypoints" else STATISTICS
    statistics = {name: _or_none(value) for name, value in zip(names, run.stats, strict=False)}
    precision = run.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class], all areas, 100 detections
    return statistics, [_or_none(_mean_of_known(precision[:, :, i])) for i in range(precision.shape[2])]


def without(results: Sequence[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    """The results without some of their entries."""
    return [{key: value for key, value in result.items() if key not in keys} for result in results]


def _nothing(truth: Any) -> Any:
    """A COCO object of the same images without any annotation: what `loadRes` refuses to make of an empty list."""
    empty = COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _mean_of_known(values: npt.NDArray[np.float64]) -> float:
    known = values[values > -1]
    return float(known.mean()) if known.size else -1.0


def _or_none(value: float) -> float | None:
    """COCOeval writes -1 where no ground truth of this size or class exists."""
    return None if value < 0 else float(value)
