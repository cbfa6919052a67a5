"""What a data set looks like, as far as a recipe depends on it: sizes of pictures and objects, how many, which.

Letters: N images, G objects that can be trained on.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from maskline_train.data.coco import CocoDataset
from maskline_train.data.errors import DataError

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Survey:
    """A split.

    Attributes:
        sizes: [N, 2] height, width in px.
        boxes: [G, 2] height, width of the objects' boxes in px of their images.
        image_of: [G] the image of each object, in 0..N-1.
        labels: [G] class indices.
        classes: names, in class order.
        keypoint_names: of the objects; empty where there are none.
    """

    sizes: Floats
    boxes: Floats
    image_of: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    keypoint_names: tuple[str, ...] = ()

    @property
    def objects_per_image(self) -> npt.NDArray[np.int64]:
        """[N]."""
        return np.bincount(self.image_of, minlength=len(self.sizes))

    @property
    def num_empty(self) -> int:
        """Images without an object to train on."""
        return int((self.objects_per_image == 0).sum())

    @property
    def counts(self) -> dict[str, int]:
        """Objects of each class."""
        found = np.bincount(self.labels, minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def sides(self) -> Floats:
        """[G] of each object: the side of a square of its box's area, in px of its image."""
        found: Floats = np.sqrt(self.boxes.prod(axis=1))
        return found

    def shorter_sides(self) -> Floats:
        """[N] of the images, px."""
        found: Floats = self.sizes.min(axis=1)
        return found

    def scales(self, shorter_side_px: float, longer_side_px: float) -> Floats:
        """[N] by how much each image is enlarged for a network of this size. Ref: `PreprocessingSpec`."""
        found: Floats = np.minimum(shorter_side_px / self.sizes.min(axis=1), longer_side_px / self.sizes.max(axis=1))
        return found


def _visible(box: tuple[float, float, float, float], height: int, width: int) -> tuple[float, float]:
    """Height and width of a box, x y width height, within the image; `unused` has those without an area there."""
    x, y, wide, high = box
    return min(y + high, height) - max(y, 0.0), min(x + wide, width) - max(x, 0.0)


def survey(dataset: CocoDataset) -> Survey:
    """Look at the records of a data set; no image is opened.

    Raises:
        DataError: no object to train on.
    """
    boxes, image_of, labels = [], [], []
    for index, record in enumerate(dataset):
        for annotation in record.annotations:
            if not annotation.unused:
                boxes.append(_visible(annotation.bbox_xywh, record.height, record.width))
                image_of.append(index)
                labels.append(annotation.label)
    if not boxes:
        raise DataError(f"{dataset.annotation_file}: got no object to train on, expected some; {dataset.describe()}")
    return Survey(
        np.array(dataset.sizes, np.float64).reshape(-1, 2),
        np.array(boxes, np.float64),
        np.array(image_of, np.int64),
        np.array(labels, np.int64),
        dataset.classes,
        dataset.keypoint_names,
    )
