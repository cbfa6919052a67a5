"""COCO average precision of what the server answers, image files in; boxes, RLE masks and keypoints out.

Boxes and masks are matched by IoU, keypoints by OKS (object keypoint similarity). AP is a fraction 0..1; None where no
ground truth counts. pycocotools is imported here only when needed: the commands that measure nothing work without it.

Letters: J keypoints.
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
from maskline_client.served_model import KeypointNames, ServedModel

STATISTICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")  # the first six of COCOeval.stats, in its order
KEYPOINT_STATISTICS = ("AP", "AP50", "AP75", "APm", "APl")  # small persons have no keypoints in COCO
DEFAULT_SIGMA = 0.05  # of a keypoint that the model gives none for, as in training


@dataclasses.dataclass(frozen=True)
class DataSplit:
    """The images and the ground truth of a split.

    Attributes:
        coco: pycocotools' index of the annotations.
        image_ids: of the images to send, ascending.
        paths: their files, in the same order.
        category_ids: category id by class name.
        keypoint_names: of the objects, J of them; empty where the annotations have none.
    """

    coco: Any
    image_ids: tuple[int, ...]
    paths: tuple[Path, ...]
    category_ids: dict[str, int]
    keypoint_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        num_images: images sent.
        num_detections: objects the server returned for them.
        box: AP, AP50, AP75, APs, APm, APl of the boxes.
        mask: the same of the masks; None of a model without masks.
        keypoint: AP, AP50, AP75, APm, APl of the keypoints; None of a model without keypoints.
    """

    num_images: int
    num_detections: int
    box: dict[str, float | None]
    mask: dict[str, float | None] | None
    keypoint: dict[str, float | None] | None = None


def read_split(root: Path, split: str, max_images: int | None = None, annotations: str = "instances") -> DataSplit:
    """Read `ROOT/annotations/KIND_SPLIT.json`; the images lie in `ROOT/SPLIT/`.

    Args:
        root: the data folder.
        split: e.g. "val" or "val2017".
        max_images: keep the first so many by image id; None keeps all.
        annotations: KIND, "person_keypoints" for keypoints.

    Raises:
        ValueError: no such file, not COCO annotations, no image, an image without its file, two categories of one
            name, or with other keypoints.
    """
    from pycocotools.coco import COCO

    path = root / "annotations" / f"{annotations}_{split}.json"
    if not path.is_file():
        raise ValueError(
            f"--data: got no {path}, expected COCO annotations there; check --data, --split and --annotations"
        )
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        image_ids = tuple(sorted(coco.imgs))[:max_images]
        paths = tuple(root / split / coco.imgs[i]["file_name"] for i in image_ids)
        names = [category["name"] for category in coco.loadCats(sorted(coco.cats))]
        keypoints = {tuple(category["keypoints"]) for category in coco.cats.values() if category.get("keypoints")}
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
    if len(keypoints) > 1:
        raise ValueError(f"{path}: got categories with different keypoints, expected one set of them")
    (keypoint_names,) = keypoints or {()}
    _fill_keypoints(path, coco, len(keypoint_names))
    return DataSplit(coco, image_ids, paths, dict(zip(names, sorted(coco.cats), strict=True)), keypoint_names)


def check_keypoints(split: DataSplit, model: ServedModel) -> None:
    """Raise ValueError where the model has keypoints and the data have none, or others."""
    if model.keypoints is not None and split.keypoint_names != model.keypoint_names:
        raise ValueError(
            f"--data: got the keypoints {', '.join(split.keypoint_names) or 'none'}, expected those of the model: "
            f"{', '.join(model.keypoint_names)}; files with keypoints are read with --annotations person_keypoints"
        )


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
    model = detector.model
    outcomes = detector.try_detect_many(split.paths, in_flight, model)
    for image_id, path, outcome in zip(split.image_ids, split.paths, outcomes, strict=True):
        if outcome.error is not None:
            error = outcome.error
            raise type(error)(f"image {path.name}: {error}") from error
        results += outcome.unwrap().to_coco_results(image_id, split.category_ids)
        advance()
    return score(split, results, masks=model.has_masks, keypoints=model.keypoints), results


def score(
    split: DataSplit, results: list[dict[str, Any]], *, masks: bool, keypoints: KeypointNames | None
) -> Evaluation:
    """Score COCO results of all images of a split, exactly as training does.

    Args:
        split: from `read_split`.
        results: as `Detections.to_coco_results` makes them.
        masks: whether they have masks.
        keypoints: of the model, where they have keypoints.
    """
    return Evaluation(
        len(split.image_ids),
        len(results),
        box=_score(split, results, "bbox"),
        # Without the box, whose area pycocotools would else take for the size of the mask or of the person.
        mask=_score(split, _without(results, "bbox"), "segm") if masks else None,
        keypoint=None
        if keypoints is None
        else _score(split, _without(results, "bbox", "segmentation"), "keypoints", oks_sigmas(keypoints)),
    )


def _without(results: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in result.items() if key not in keys} for result in results]


def oks_sigmas(keypoints: KeypointNames) -> tuple[float, ...]:
    """The OKS constants of J keypoints: the model's own, else those of training, 0.05 each."""
    return keypoints.sigmas or (DEFAULT_SIGMA,) * len(keypoints.names)


def _score(
    split: DataSplit, results: list[dict[str, Any]], iou_type: str, sigmas: tuple[float, ...] = ()
) -> dict[str, float | None]:
    """Run COCOeval over the images of the split, quietly; the sigmas are those of keypoints."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        # pycocotools cannot load an empty list: for no result, an index of nothing.
        found = split.coco.loadRes([dict(result) for result in results]) if results else COCO()
        scorer = COCOeval(split.coco, found, iou_type)
        scorer.params.imgIds = list(split.image_ids)
        if sigmas:
            scorer.params.kpt_oks_sigmas = np.array(sigmas)
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    names = KEYPOINT_STATISTICS if sigmas else STATISTICS
    values = np.asarray(scorer.stats, np.float64)[: len(names)]
    return {name: None if value < 0 else float(value) for name, value in zip(names, values, strict=True)}


def _fill_keypoints(path: Path, coco: Any, num_keypoints: int) -> None:
    """Give annotations that say nothing of keypoints as many that are not labelled: COCOeval asks each for them.

    Raises:
        ValueError: an annotation with another number of them than its category names.
    """
    for annotation in coco.anns.values() if num_keypoints else ():
        points = annotation.get("keypoints") or [0] * (3 * num_keypoints)
        if not isinstance(points, list) or len(points) != 3 * num_keypoints:
            got = f"{len(points)} values" if isinstance(points, list) else repr(points)[:60]
            raise ValueError(
                f"{path}: annotation {annotation.get('id')}: got keypoints of {got}, expected a list of "
                f"{3 * num_keypoints}: x, y, visibility of each of the category's {num_keypoints}"
            )
        annotation["keypoints"], annotation["num_keypoints"] = points, sum(known > 0 for known in points[2::3])
