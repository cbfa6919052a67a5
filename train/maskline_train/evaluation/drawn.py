"""What is known and what was found in an image, as `maskline_show` draws it.

Letters: N objects, J keypoints, H W an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskline_train.data.coco import PIXEL_CENTRE, CocoDataset
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.evaluation.evaluate import Result


@dataclasses.dataclass(frozen=True)
class Drawn:
    """N objects of an image, the most certain first.

    Attributes:
        boxes: [N, 4] xyxy, px of the image.
        labels: [N] class indices.
        names: N class names.
        rle: N masks; None without masks.
        image_size: (height, width), px.
        scores: [N]; None of ground truth.
        keypoints: [N, J, 3] x, y in continuous pixels, and what is above 0 where there is one; None without.
        keypoint_names: J names.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    rle: RleMasks | None
    image_size: tuple[int, int]
    scores: npt.NDArray[np.float32] | None = None
    keypoints: npt.NDArray[np.float32] | None = None
    keypoint_names: tuple[str, ...] = ()

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """[H, W]; asked for where there are masks alone."""
        assert self.rle is not None
        return self.rle[index].astype(np.bool_)


def known(dataset: CocoDataset, index: int) -> Drawn:
    """The ground truth of image `index`, as far as training can use it."""
    objects = dataset.objects(index)
    names = tuple(dataset.classes[label] for label in objects.labels)
    return Drawn(
        boxes=objects.boxes,
        labels=objects.labels,
        names=names,
        rle=objects.each_mask,
        image_size=dataset.sizes[index],
        keypoints=objects.keypoints,
        keypoint_names=dataset.keypoint_names,
    )


def found(
    results: Sequence[Result],
    size: tuple[int, int],
    classes: Sequence[str],
    category_ids: Sequence[int],
    keypoint_names: Sequence[str] = (),
) -> Drawn:
    """COCO results of one image.

    Args:
        results: best first.
        size: (height, width) of the image.
        classes: K names.
        category_ids: K ids.
        keypoint_names: J names, where the results have keypoints.
    """
    xywh = np.array([result["bbox"] for result in results], np.float64).reshape(-1, 4)
    labels = [category_ids.index(result["category_id"]) for result in results]
    masks = keypoints = None
    if results and "segmentation" in results[0]:
        masks = RleMasks([result["segmentation"] for result in results], size)
    if results and "keypoints" in results[0]:
        points = np.array([result["keypoints"] for result in results], np.float32).reshape(len(results), -1, 3)
        keypoints = points + np.array([PIXEL_CENTRE, PIXEL_CENTRE, 0], np.float32)
    return Drawn(
        boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1).astype(np.float32),
        labels=np.array(labels, np.int64),
        names=tuple(classes[label] for label in labels),
        rle=masks,
        image_size=size,
        scores=np.array([result["score"] for result in results], np.float32),
        keypoints=keypoints,
        keypoint_names=tuple(keypoint_names),
    )
