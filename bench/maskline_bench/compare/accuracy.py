"""What a side finds of the objects that were drawn: COCO's AP, on pictures whose objects are known."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask
from maskline_coco.metric import average_precision
from pycocotools.coco import COCO

from maskline_bench.drawn import COLOURS, Drawn
from maskline_bench.serving.eager import Found

KINDS = ("bbox", "segm")


def accuracy(found: Sequence[Found], pictures: Sequence[Drawn]) -> dict[str, float]:
    """AP in percent, of boxes and of masks, of the answers to the pictures."""
    truth = _truth(pictures)
    guesses = [guess for image, each in enumerate(found, 1) for guess in _guesses(image, each)]
    images = list(range(1, len(pictures) + 1))
    return {kind: 100 * (average_precision(truth, guesses, kind, images)[0]["AP"] or 0.0) for kind in KINDS}


def _truth(pictures: Sequence[Drawn]) -> COCO:
    """The drawn objects as COCO has them; categories are labels and one more."""
    annotations: list[dict[str, Any]] = []
    for image, picture in enumerate(pictures, 1):
        for box, label, mask in zip(
            picture.boxes.tolist(), picture.labels.tolist(), picture.masks.numpy(), strict=True
        ):
            encoded = pycocotools.mask.encode(np.asfortranarray(mask))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": label + 1, "iscrowd": 0,
                "bbox": _xywh(box), "area": float(mask.sum()), "segmentation": encoded,
            })  # fmt: skip
    truth = COCO()
    truth.dataset = {
        "images": [
            {"id": image, "height": picture.picture.shape[0], "width": picture.picture.shape[1]}
            for image, picture in enumerate(pictures, 1)
        ],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(COLOURS)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.createIndex()
    return truth


def _guesses(image: int, found: Found) -> list[dict[str, Any]]:
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), found.masks, strict=True)
    return [
        {"image_id": image, "category_id": label + 1, "score": score, "bbox": _xywh(box), "segmentation": mask}
        for box, score, label, mask in rows
    ]


def _xywh(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
