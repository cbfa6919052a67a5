"""COCO average precision of what the server answers, image files in and RLE masks out.

AP is a fraction 0..1; None where no ground truth counts. pycocotools is imported here only when needed: the commands
that measure nothing work without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maskline_client.detector import IN_FLIGHT, Detector

STATISTICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")  # the first six of COCOeval.stats, in its order
KINDS = {"box": "bbox", "mask": "segm"}  # ours to COCOeval's iouType


@dataclasses.dataclass(frozen=True)
class DataSplit:
    """The images and the ground truth of a split.

    Attributes:
        coco: pycocotools' index of the annotations.
        image_ids: of the images to send, ascending.
        paths: their files, in the same order.
        category_ids: category id by class name.
    """

    coco: Any
    image_ids: tuple[int, ...]
    paths: tuple[Path, ...]
    category_ids: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        num_images: images sent.
        num_detections: objects the server returned for them.
        box: AP, AP50, AP75, APs, APm, APl of the boxes.
        mask: the same of the masks.
    """

    num_images: int
    num_detections: int
    box: dict[str, float | None]
    mask: dict[str, float | None]


def read_split(root: Path, split: str, max_images: int | None = None) -> DataSplit:
    """Read `ROOT/annotations/instances_SPLIT.json`; the images lie in `ROOT/SPLIT/`.

    Args:
        root: the data folder.
        split: e.g. "val" or "val2017".
        max_images: keep the first so many by image id; None keeps all.

    Raises:
        ValueError: no such file, not COCO annotations, no image, an image without its file, or two categories of one
            name.
    """
    from pycocotools.coco import COCO

    path = root / "annotations" / f"instances_{split}.json"
    if not path.is_file():
        raise ValueError(f"--data: got no {path}, expected COCO annotations there; check --data and --split")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        image_ids = tuple(sorted(coco.imgs))[:max_images]
        paths = tuple(root / split / coco.imgs[i]["file_name"] for i in image_ids)
        names = [category["name"] for category in coco.loadCats(sorted(coco.cats))]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, AssertionError, TypeError) as error:
        raise ValueError(
            f"{path}: not COCO annotations ({error!r}), expected images, annotations, categories"
        ) from error
    missing = [file for file in paths if not file.is_file()]
    if not image_ids or missing:
        got = f"no file {missing[0]}" if missing else "no image"
        raise ValueError(f"{path}: got {got} ({len(missing)} of {len(paths)} files missing), expected all images")
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: got two categories of one name, expected names to tell classes apart")
    return DataSplit(coco, image_ids, paths, dict(zip(names, sorted(coco.cats), strict=True)))


def unknown_names(split: DataSplit, classes: Sequence[str]) -> list[str]:
    """Category names of the data that the model does not have; they count with an AP of 0.

    Raises:
        ValueError: the data and the model have no class in common.
    """
    missing = [name for name in split.category_ids if name not in classes]
    if len(missing) == len(split.category_ids):
        raise ValueError(
            f"--data: got the classes {', '.join(missing[:5])}, expected some of the model's: "
            f"{', '.join(classes[:5])}; this server serves a model for other data"
        )
    return missing


def evaluate(
    detector: Detector,
    split: DataSplit,
    in_flight: int = IN_FLIGHT,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Evaluation, list[dict[str, Any]]]:
    """Send every image of a split and score the answers.

    Args:
        detector: connected to the server.
        split: from `read_split`.
        in_flight: requests under way at a time.
        advance: called after each image.

    Returns:
        The evaluation, and all detections as COCO results in the order of the image ids.

    Raises:
        ClientError: an image failed; a score over the others would mislead.
    """
    results: list[dict[str, Any]] = []
    outcomes = detector.try_detect_many(split.paths, in_flight)
    for image_id, path, outcome in zip(split.image_ids, split.paths, outcomes, strict=True):
        if outcome.error is not None:
            error = outcome.error
            raise type(error)(f"image {path.name}: {error}") from error
        results += outcome.unwrap().to_coco_results(image_id, split.category_ids)
        advance()
    scores = {kind: _score(split, results, iou_type) for kind, iou_type in KINDS.items()}
    return Evaluation(len(split.image_ids), len(results), scores["box"], scores["mask"]), results


def _score(split: DataSplit, results: list[dict[str, Any]], iou_type: str) -> dict[str, float | None]:
    """Run COCOeval over the images of the split, quietly."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        # pycocotools cannot load an empty list: for no result, an index of nothing.
        found = split.coco.loadRes([dict(result) for result in results]) if results else COCO()
        scorer = COCOeval(split.coco, found, iou_type)
        scorer.params.imgIds = list(split.image_ids)
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    values = np.asarray(scorer.stats, np.float64)[: len(STATISTICS)]
    return {name: None if value < 0 else float(value) for name, value in zip(STATISTICS, values, strict=True)}
