"""Average precision by pycocotools, the reference metric. Ref: paper section 4, P43 of the ledger.

Boxes and masks are matched by IoU, keypoints by OKS (object keypoint similarity) with the sigmas of the spec.

Letters: B images, D detections an image, J keypoints, M mask side. AP is a fraction 0..1; None where no ground truth
counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from maskline_coco.metric import average_precision, without
from torch import Tensor

from maskline_train.data.canvas import image_info
from maskline_train.data.coco import PIXEL_CENTRE, CocoDataset
from maskline_train.data.images import Pixels
from maskline_train.data.loader import check_keypoints, eval_loader
from maskline_train.distributed import Processes, gather_objects
from maskline_train.evaluation.many_views import View, detect_augmented
from maskline_train.evaluation.paste import Rle, encode_masks
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from maskline_train.spec import KeypointHeadSpec, PasteRule

DEFAULT_SIGMA = 0.05  # of a keypoint whose spec gives none

Result = dict[str, Any]  # one entry of a COCO results file


@dataclasses.dataclass(frozen=True)
class Metrics:
    """What an evaluation found.

    Attributes:
        num_images: how many images were evaluated.
        box: AP, AP50, AP75, APs, APm, APl of the boxes.
        mask: the same of the masks; None without a mask branch.
        per_class: class name to its AP of each kind: `box`, `mask`, `keypoint`.
        results: all detections as COCO results, in the order of the image ids, best first.
        keypoint: AP, AP50, AP75, APm, APl of the keypoints; None without a keypoint branch.
    """

    num_images: int
    box: dict[str, float | None]
    mask: dict[str, float | None] | None
    per_class: dict[str, dict[str, float | None]]
    results: list[Result]
    keypoint: dict[str, float | None] | None = None

    @property
    def main_ap(self) -> float:
        """What the best checkpoint has most of: the AP of keypoints, else of masks, else of boxes; 0 for none."""
        return list(self.kinds().values())[-1]["AP"] or 0.0

    def kinds(self) -> dict[str, dict[str, float | None]]:
        """The statistics of what the model answers: `box`, `mask`, `keypoint`, in this order."""
        found = {"box": self.box, "mask": self.mask, "keypoint": self.keypoint}
        return {kind: values for kind, values in found.items() if values is not None}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """One line for a log."""
        kinds = self.kinds().items()
        return ", ".join(f"{kind} {name} {percent(values[name])}" for kind, values in kinds for name in ("AP", "AP50"))

    def scalars(self) -> dict[str, float]:
        """The numbers that exist, by name: `mask_AP`, `box_AP50`, ..."""
        return {
            f"{kind}_{name}": value
            for kind, found in self.kinds().items()
            for name, value in found.items()
            if value is not None
        }


class EvaluationStopped(Exception):  # noqa: N818 (no error: it ended as it was asked to)
    """Whoever follows the evaluation asked for its end; `number` is what they said."""

    def __init__(self, number: int) -> None:
        super().__init__(f"evaluation stopped ({number})")
        self.number = number


def evaluate(
    model: MaskRCNN,
    dataset: CocoDataset,
    processes: Processes,
    *,
    batch: int = 8,
    workers: int = 0,
    max_images: int | None = None,
    detect: Callable[[Tensor, Tensor], Detections] | None = None,
    views: Sequence[View] = (),
    results_in: Callable[[Pixels, int], list[Result]] | None = None,
    advance: Callable[[int, int], int] = lambda done, count: 0,
) -> Metrics:
    """Detect on a split and score; the images are shared out over the processes, every process gets the result.

    The model is left in the mode (training or evaluation) it came in.

    Args:
        model: on the device of `processes`.
        dataset: images and ground truth, its classes in the order of the model's.
        processes: who else evaluates.
        batch: images of one forward pass; one where each image has a canvas of its own size (`canvas_multiple`).
        workers: loading processes; 0 loads in this one.
        max_images: only the first so many, by image id.
        detect: finds objects in a batch, `(canvas, image_info)`; None: `model.detect`.
        views: look at each image in these ways instead and combine what is found (test-time augmentation).
        results_in: gives the results of an image and its id instead, e.g. by tiles.
        advance: called after each image with how many of this process's share are done, and of how many about; an
            answer other than 0, in any process, stops the evaluation in all of them.

    Raises:
        EvaluationStopped: with the answer of `advance`.
        ValueError: the data set has other classes or keypoints than the model.
    """
    spec = model.spec
    if spec.keypoint_head is not None:
        check_keypoints(dataset, spec.keypoint_head)
    if dataset.classes != model.spec.classes:
        raise ValueError(
            f"{dataset.annotation_file}: got classes {', '.join(dataset.classes)}, expected the model's "
            f"{', '.join(model.spec.classes)}; evaluate on the data set it was trained for"
        )
    count = len(dataset) if max_images is None else min(max_images, len(dataset))
    image_ids = dataset.image_ids[:count]
    was_training = model.training
    model.eval()
    found: dict[int, list[Result]] = {}
    stop = 0
    try:
        if views:
            pairs = _detect_augmented(model, dataset, count, processes, views)
        elif results_in is not None:
            mine = range(processes.rank, count, processes.world)
            pairs = ((image_ids[index], results_in(dataset.image(index), image_ids[index])) for index in mine)
        else:
            pairs = _detect_all(model, dataset, set(image_ids), processes, batch, workers, detect)
        for key, own in pairs:
            found[key] = own
            if stop := advance(len(found), -(-count // processes.world)):
                break
    finally:
        model.train(was_training)
    parts = gather_objects((found, stop))
    if stop := max(number for _, number in parts):
        raise EvaluationStopped(stop)
    everyone = {key: own for part, _ in parts for key, own in part.items()}
    results = [result for key in image_ids for result in everyone[key]]
    return score(dataset, results, image_ids, masks=spec.mask_head is not None, keypoint_head=spec.keypoint_head)


def score(
    dataset: CocoDataset,
    results: list[Result],
    image_ids: Sequence[int],
    *,
    masks: bool = True,
    keypoint_head: KeypointHeadSpec | None = None,
) -> Metrics:
    """AP of COCO results on some images of a data set; no results at all score 0.

    Args:
        dataset: the ground truth.
        results: as `to_results` makes them.
        image_ids: the images that count.
        masks: whether the results have masks.
        keypoint_head: of the model, where the results have keypoints.
    """
    truth = dataset.coco_api()
    runs = {"box": average_precision(truth, results, "bbox", image_ids)}
    if masks:
        # Without the box, whose area pycocotools would else take for the size of the mask.
        runs["mask"] = average_precision(truth, without(results, "bbox"), "segm", image_ids)
    if keypoint_head is not None:
        sigmas = np.array(keypoint_head.sigmas or [DEFAULT_SIGMA] * len(keypoint_head.names))
        # As the entries of a COCO keypoints file, which have no box: the size of an object is then that of its points.
        bare = without(results, "bbox", "segmentation")
        runs["keypoint"] = average_precision(truth, bare, "keypoints", image_ids, sigmas)
    per_class = {
        name: {kind: classes[i] for kind, (_, classes) in runs.items()} for i, name in enumerate(dataset.classes)
    }
    found = {kind: statistics for kind, (statistics, _) in runs.items()}
    return Metrics(len(image_ids), found["box"], found.get("mask"), per_class, results, found.get("keypoint"))


def to_results(
    detections: Detections,
    image_info: npt.NDArray[np.float32],
    image_ids: Sequence[int],
    category_ids: Sequence[int],
    paste: PasteRule,
) -> list[list[Result]]:
    """Detections of a batch as COCO results: boxes xywh, masks (RLE) and keypoints in pixels of the original image.

    Keypoints are pixel indices, as COCO has them: x, y, probability of each, x = 0 the centre of the first pixel.

    Args:
        detections: of B images.
        image_info: [B, 6].
        image_ids: B ids.
        category_ids: the id of each class.
        paste: the model's, `ModelSpec.paste`.

    Returns:
        One list an image, best first, empty where nothing was found.
    """
    boxes, scores = detections.boxes.cpu().numpy(), detections.scores.cpu().numpy()
    labels, counts = detections.labels.cpu().numpy(), detections.num_detections.cpu().numpy()
    results = []
    for image, image_id in enumerate(image_ids):
        rows = slice(0, int(counts[image]))
        boxes_image = boxes_at_original_size(boxes[image, rows], image_info[image])
        rles = keypoints = None
        if detections.masks is not None:
            masks = detections.masks[image, rows].float().cpu().numpy()
            size = (int(image_info[image, 4]), int(image_info[image, 5]))
            rles = encode_masks(masks, boxes_image, size, paste)
        if detections.keypoints is not None:
            keypoints = keypoints_at_original_size(detections.keypoints[image, rows].cpu().numpy(), image_info[image])
        categories = [category_ids[label] for label in labels[image, rows]]
        found = image_results(image_id, categories, boxes_image, scores[image, rows], rles, keypoints)
        results.append(found)
    return results


def image_results(
    image_id: int,
    categories: Sequence[int],
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    masks: Iterable[Rle] | None,
    keypoints: npt.NDArray[np.float32] | None,
) -> list[Result]:
    """N detections of an image as COCO results, in their order; everything in continuous pixels of the image.

    Args:
        image_id: of the image.
        categories: N category ids.
        boxes: [N, 4] xyxy.
        scores: [N].
        masks: N RLEs; None without a mask branch.
        keypoints: [N, J, 3]; None without a keypoint branch.
    """
    found: list[Result] = [
        {
            "image_id": image_id,
            "category_id": category,
            "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
            "score": float(score),
        }
        for (x0, y0, x1, y1), score, category in zip(boxes, scores, categories, strict=True)
    ]
    if masks is not None:
        for result, rle in zip(found, masks, strict=True):
            result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    if keypoints is not None:
        indices = keypoints - np.array([PIXEL_CENTRE, PIXEL_CENTRE, 0], np.float32)
        for result, points in zip(found, indices, strict=True):
            result["keypoints"] = [float(value) for value in points.ravel()]
    return found


def boxes_at_original_size(
    boxes: npt.NDArray[np.float32], image_info: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Boxes [N, 4] xyxy of the canvas as pixels of the original image, clipped to it."""
    limit = np.tile(image_info[:3:-1], 2)
    return np.clip(boxes * np.tile(_enlargement(image_info), 2), np.float32(0.0), limit)


def keypoints_at_original_size(
    keypoints: npt.NDArray[np.float32], image_info: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Keypoints [N, J, 3] (x, y, probability) of the canvas as continuous pixels of the original image."""
    return keypoints * np.array([*_enlargement(image_info), 1], np.float32)


def _enlargement(image_info: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[2] float32, x and y: what a length on the canvas is multiplied by, as detectron2 and torchvision do it.

    Divided by `scale_x` and `scale_y`, two roundings would move a box by another last bit than theirs, and with it a
    pixel of one mask in a hundred.
    """
    factors: npt.NDArray[np.float32] = image_info[:3:-1] / image_info[1::-1]  # original / resized
    return factors


def _detect_all(
    model: MaskRCNN,
    dataset: CocoDataset,
    wanted: set[int],
    processes: Processes,
    batch_size: int,
    workers: int,
    detect: Callable[[Tensor, Tensor], Detections] | None,
) -> Iterator[tuple[int, list[Result]]]:
    """(image id, its results) of this process's share of the wanted images."""
    loader = eval_loader(
        dataset,
        model.spec.preprocessing,
        batch_size=batch_size,
        workers=workers,
        rank=processes.rank,
        world_size=processes.world,
        pin_memory=processes.device.type == "cuda",
    )
    for batch in loader:
        if wanted.isdisjoint(batch.image_ids):  # images come in the order of their ids: none of the rest is wanted
            return
        moved = batch.to(processes.device)
        detections = (detect or model.detect)(moved.canvas, moved.image_info)
        found = to_results(
            detections, batch.image_info.numpy(), batch.image_ids, dataset.category_ids, model.spec.paste
        )
        yield from ((key, results) for key, results in zip(batch.image_ids, found, strict=True) if key in wanted)


def _detect_augmented(
    model: MaskRCNN, dataset: CocoDataset, count: int, processes: Processes, views: Sequence[View]
) -> Iterator[tuple[int, list[Result]]]:
    """(image id, its results) of this process's share of the first `count` images."""
    for index in range(processes.rank, count, processes.world):
        image, key = dataset.image(index), dataset.image_ids[index]
        detections = detect_augmented(model, image, views)
        size = image.shape[0], image.shape[1]
        (found,) = to_results(detections, image_info(size, size)[None], [key], dataset.category_ids, model.spec.paste)
        yield key, found


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal; a dash for None."""
    return "-" if value is None else f"{100 * value:.1f}"
