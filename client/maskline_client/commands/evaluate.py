"""COCO average precision of what the server answers, image files in; boxes, RLE masks and keypoints out.

Boxes and masks are matched by IoU, keypoints by OKS (object keypoint similarity). AP is a fraction 0..1; None where no
ground truth counts. Files are read and scored by `maskline_coco`, as in training. It needs pycocotools: this module is
imported only by its command, and those that measure nothing work without.

Letters: J keypoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from maskline_coco import split as coco_split
from maskline_coco.image_headers import check_headers
from maskline_coco.metric import average_precision, without
from maskline_coco.truth import ground_truth

from maskline_client.detector import IN_FLIGHT, ImageDetector
from maskline_client.errors import ClientError, InvalidImage, of_file
from maskline_client.files import write_json
from maskline_client.images import FORMATS
from maskline_client.served_model import KeypointNames, ServedModel

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
    """Read `ROOT/annotations/KIND_SPLIT.json` by the rules of training, and the headers of the images in `ROOT/SPLIT/`.

    Args:
        root: the data folder.
        split: e.g. "val" or "val2017".
        max_images: keep the first so many by image id; None keeps all.
        annotations: KIND, "person_keypoints" for keypoints.

    Raises:
        DataError: a missing file, a mistake in the json, an image that the server would refuse, or one of another size
            than the json says: boxes and masks of its answer would be scored against others.
    """
    found = coco_split.read_split(root, split, annotations)
    records = found.records[:max_images]
    check_headers(found.image_folder, records, FORMATS)
    return DataSplit(
        ground_truth(found.records, found.categories),
        tuple(record.id for record in records),
        tuple(found.image_folder / record.file_name for record in records),
        dict(zip(found.categories.names, found.categories.ids, strict=True)),
        tuple(found.categories.keypoint_names),
    )


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


@dataclasses.dataclass
class Answers:
    """What became of the images of a split so far.

    Attributes:
        results: the detections as COCO results, in the order of the image ids.
        num_images: how many images were answered.
        errors: of those that were refused or could not be read.
    """

    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    num_images: int = 0
    errors: list[ClientError] = dataclasses.field(default_factory=list)


def collect(
    detector: ImageDetector,
    model: ServedModel,
    split: DataSplit,
    answers: Answers,
    in_flight: int = IN_FLIGHT,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Send every image of a split; one that is refused or cannot be read does not end it.

    Args:
        detector: connected to the server.
        model: that all answers must be of.
        split: from `read_split`.
        answers: where each answer goes as soon as it is there: what came before a failure is not lost.
        in_flight: requests under way at a time.
        advance: called after each image.

    Raises:
        ClientError: the server failed; the text names the image.
    """
    outcomes = detector.try_detect_many(split.paths, in_flight, model)
    for image_id, path, outcome in zip(split.image_ids, split.paths, outcomes, strict=True):
        if isinstance(outcome.error, InvalidImage):
            answers.errors.append(of_file(outcome.error, path))
        elif outcome.error is not None:
            raise of_file(outcome.error, path) from outcome.error
        else:
            answers.results += outcome.unwrap().to_coco_results(image_id, split.category_ids)
            answers.num_images += 1
        advance()


def write_results(path: Path | None, split: DataSplit, answers: Answers) -> str:
    """Write the file of `--results`, if it was asked for; answers of a part go beside it, as `NAME.partial.json`.

    Returns:
        What to tell the user of a part; empty where every image was answered, or none.
    """
    count, of = answers.num_images, len(split.image_ids)
    if count == of:
        if path is not None:
            write_json(path, answers.results)
        return ""
    if count == 0:
        return ""
    kept = "--results FILE keeps the detections of such a part"
    if path is not None:
        part = path.with_name(f"{path.stem}.partial{path.suffix}")
        write_json(part, answers.results)
        kept = f"their detections are in {part}"
    return f"{count} of {of} images were answered, a score over them would mislead; {kept}"


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
        mask=_score(split, without(results, "bbox"), "segm") if masks else None,
        keypoint=None
        if keypoints is None
        else _score(split, without(results, "bbox", "segmentation"), "keypoints", oks_sigmas(keypoints)),
    )


def oks_sigmas(keypoints: KeypointNames) -> tuple[float, ...]:
    """The OKS constants of J keypoints: the model's own, else those of training, 0.05 each."""
    return keypoints.sigmas or (DEFAULT_SIGMA,) * len(keypoints.names)


def _score(
    split: DataSplit, results: list[dict[str, Any]], kind: str, sigmas: tuple[float, ...] = ()
) -> dict[str, float | None]:
    """The statistics of "bbox", "segm" or "keypoints"; the sigmas are those of keypoints."""
    found, _ = average_precision(split.coco, results, kind, split.image_ids, np.array(sigmas) if sigmas else None)
    return found
