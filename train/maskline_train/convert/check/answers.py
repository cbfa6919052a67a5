"""What a network finds in a picture, whichever network it is, and the pictures of a folder.

Letters: N detections, J keypoints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import PIXEL_CENTRE
from maskline_train.data.images import Pixels
from maskline_train.evaluation.evaluate import to_results
from maskline_train.evaluation.predict import SUFFIXES
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import PreprocessingSpec

Rle = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        boxes: [N, 4] float32 xyxy, px of the picture.
        scores: [N] float32.
        labels: [N] int64 in 0..K-1.
        masks: N COCO RLE, their counts as bytes; None for a network without masks.
        keypoints: [N, J, 2] float32 x, y in continuous px of the picture; None for a network without keypoints.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    masks: list[Rle] | None
    keypoints: npt.NDArray[np.float32] | None


Source = Callable[[Pixels], Answer]  # a network of another framework, on RGB


def our_answer(model: MaskRCNN, image: Pixels, preprocessing: PreprocessingSpec | None = None) -> Answer:
    """What our model finds; `preprocessing` in place of its own."""
    canvas, info = preprocess_batch([image], preprocessing or model.spec.preprocessing)
    detections = model.detect(torch.from_numpy(canvas), torch.from_numpy(info))
    (results,) = to_results(detections, info, [0], range(model.spec.num_classes), model.spec.paste)
    boxes = np.array([result["bbox"] for result in results], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = keypoints = None
    if model.spec.mask_head is not None:
        rles = [result["segmentation"] for result in results]
        masks = [{**rle, "counts": rle["counts"].encode("ascii")} for rle in rles]
    if model.spec.keypoint_head is not None:
        count = len(model.spec.keypoint_head.names)
        points = np.array([result["keypoints"] for result in results], np.float32).reshape(len(results), count, 3)
        keypoints = points[..., :2] + np.float32(PIXEL_CENTRE)
    scores = np.array([result["score"] for result in results], np.float32)
    labels = np.array([result["category_id"] for result in results], np.int64)
    return Answer(boxes, scores, labels, masks, keypoints)


def pictures_in(folder: Path) -> list[Path]:
    """The image files of a folder, by name.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no image in it.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: no such folder, expected some pictures in it; give one by --check")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"{folder}: got a folder without images, expected some of {', '.join(SUFFIXES)} in it")
    return found
