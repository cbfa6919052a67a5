"""A COCO-format data set: validated once at the start, then read image by image.

`ROOT/annotations/instances_<split>.json` (with keypoints `person_keypoints_<split>.json`) and the images in
`ROOT/<split>/`. Boxes of the file are xywh in continuous pixels of the original image; its keypoints are pixel indices,
whose centres lie half a pixel further; classes are numbered 0..K-1 in the order of the category ids.

G objects, J keypoints.

Ref: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from maskline_coco.annotation import Annotation
from maskline_coco.annotation_file import ImageRecord
from maskline_coco.image_headers import check_headers, raise_problems, size_problem
from maskline_coco.segmentation import to_rle
from maskline_coco.split import read_split
from maskline_coco.suspicions import suspicions
from maskline_coco.truth import ground_truth
from pycocotools import mask as coco_mask

from maskline_train.data.errors import DataError, ImageError
from maskline_train.data.images import FORMATS, Pixels, decode_image, is_nearly_black
from maskline_train.data.masks.rle_masks import RleMasks
from maskline_train.data.packed import PackedList

_DECODING = 8  # images that a check decodes at a time, each of up to 50 million pixels
PIXEL_CENTRE = 0.5  # from a keypoint's pixel index in a COCO file to continuous pixels


@dataclasses.dataclass(frozen=True)
class Objects:
    """The annotated objects of one image that training can use, in the order of their ids."""

    boxes: npt.NDArray[np.float32]  # [G, 4] xyxy, px of the original image, inside it, x0 < x1
    labels: npt.NDArray[np.int64]  # [G] class index
    each_mask: RleMasks  # G of [H, W] 0 or 1, at the original size
    keypoints: npt.NDArray[np.float32] | None  # [G, J, 3] x, y px, visibility 0, 1, 2; zeros where not labelled

    @property
    def masks(self) -> npt.NDArray[np.uint8]:
        """[G, H, W] 0 or 1, drawn now: of large images with many objects take `each_mask`."""
        return self.each_mask.array()


class CocoDataset:
    """Images in the order of their ids, with their annotations.

    Everything that the json alone can show is checked here, so that nothing is left to find out in step 5000;
    `check_headers` also opens each image's header. What cannot be trained on, but is no mistake (crowd regions, boxes
    without area, objects outside their image), is counted in `unused` and left out of `objects`; the evaluation
    (`coco_api`) sees it.

    Attributes:
        classes: names, in class order.
        category_ids: the file's category id of each class.
        keypoint_names: J names, empty where the data set has no keypoints.
        usable: of each image, whether it has an object to train on.
        has_keypoints: of each image, whether an object to train on has a labelled keypoint.
        unused: how many annotations training does not use, by reason.
    """

    def __init__(self, root: str | Path, split: str, annotations: str = "instances") -> None:
        """Read and check a split.

        Args:
            root: the folder of the data set.
            split: its name.
            annotations: the kind of the file, what stands before the split in its name.

        Raises:
            DataError: a missing folder or file, or a mistake in the json; the text names it and the next step.
        """
        self.root = Path(root)
        self.split = split
        found = read_split(self.root, split, annotations)
        self.annotation_file, self.image_folder, records = found.annotation_file, found.image_folder, found.records
        self._categories = found.categories
        self.category_ids = tuple(found.categories.ids)
        self.classes = tuple(found.categories.names)
        self.keypoint_names = tuple(found.categories.keypoint_names)
        self.unused: Mapping[str, int] = dict(
            Counter(a.unused for record in records for a in record.annotations if a.unused)
        )
        self._records = PackedList(records)
        self.image_ids = tuple(record.id for record in records)
        self.sizes = tuple((record.height, record.width) for record in records)
        self.usable = tuple(any(not a.unused for a in record.annotations) for record in records)
        self.has_keypoints = tuple(
            any(not a.unused and any(a.keypoints[2::3]) for a in record.annotations) for record in records
        )

    def __len__(self) -> int:
        """The number of images, those without annotations included."""
        return len(self._records)

    def __getitem__(self, index: int) -> ImageRecord:
        """The record of image `index`, in id order."""
        return self._records[index]

    def __iter__(self) -> Iterator[ImageRecord]:
        """All records, in id order."""
        return (self[index] for index in range(len(self)))

    def image(self, index: int) -> Pixels:
        """Decode image `index`: [H, W, 3] uint8 RGB.

        Raises:
            ImageError: the file cannot be decoded, or its size is not that of the json.
        """
        record = self[index]
        path = self.image_folder / record.file_name
        pixels = decode_image(path)
        problem = size_problem(path, (pixels.shape[0], pixels.shape[1]), record)
        if problem:
            raise ImageError(problem)
        return pixels

    def objects(self, index: int) -> Objects:
        """The usable objects of image `index`; zero rows where there is none."""
        record = self[index]
        usable = [annotation for annotation in record.annotations if not annotation.unused]
        boxes = np.array([_clip(a, record) for a in usable], np.float32).reshape(-1, 4)
        labels = np.array([a.label for a in usable], np.int64)
        size = record.height, record.width
        rles = [to_rle(a.segmentation, *size) for a in usable]
        kept = np.array([coco_mask.area(rle) > 0 for rle in rles], bool)
        kept &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # float32 can close a thin box
        keypoints = self._keypoints(usable)
        masks = RleMasks([rle for rle, good in zip(rles, kept, strict=True) if good], size)
        return Objects(boxes[kept], labels[kept], masks, None if keypoints is None else keypoints[kept])

    def check_headers(self, indices: range | None = None) -> None:
        """Open the headers of these images, or of all: no pixel is decoded, about 0.1 ms a file.

        Raises:
            DataError: an image that is none, beyond the limits, or of another size than the json says; the first is
                named, all are counted.
        """
        chosen = range(len(self)) if indices is None else indices
        check_headers(self.image_folder, (self[index] for index in chosen), FORMATS)

    def check_images(self, advance: Callable[[], None] = lambda: None) -> list[str]:
        """Decode each image, on all processors, as training will: about 10 ms a file and processor.

        Args:
            advance: called after each image.

        Returns:
            The names of those that are nearly black.

        Raises:
            DataError: as `check_headers`, and a file that is cut off.
        """
        dark: list[str] = []
        raise_problems(self._image_problems(advance, dark))
        return sorted(dark)

    def coco_api(self) -> Any:
        """The split as a quiet `pycocotools.coco.COCO`, the ground truth of the reference metric."""
        return ground_truth(self, self._categories)

    def describe(self) -> str:
        """One line: images, objects, what is not used and why."""
        total = sum(len(record.annotations) for record in self)
        line = f"{self.split}: {len(self)} images ({sum(self.usable)} with usable objects), {total} annotations"
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.unused.items()))
        return f"{line}; not used in training: {reasons}" if reasons else line

    def suspicions(self) -> Iterator[str]:
        """A line for each thing that is no mistake and hardly meant: boxes in another format, a first class unused."""
        return suspicions(self, self._categories)

    def _image_problems(self, advance: Callable[[], None], dark: list[str]) -> Iterator[str]:
        """Of each image, why it cannot be decoded; "" of a good one. Names of nearly black ones go into `dark`."""
        workers = min(os.cpu_count() or 1, _DECODING)  # Pillow's decoders let other threads work
        with ThreadPoolExecutor(workers) as threads:
            for problem in threads.map(functools.partial(self._image_problem, dark), range(len(self))):
                advance()
                yield problem

    def _image_problem(self, dark: list[str], index: int) -> str:
        try:
            if is_nearly_black(self.image(index)):
                dark.append(self[index].file_name)
        except PermissionError:
            path = self.image_folder / self[index].file_name
            return f"{path}: permission denied, expected an image that this user may read; change its mode or owner"
        except (DataError, OSError) as error:
            return str(error)
        return ""

    def _keypoints(self, annotations: list[Annotation]) -> npt.NDArray[np.float32] | None:
        """[G, J, 3] in continuous pixels; None where the data set has no keypoints."""
        if not self.keypoint_names:
            return None
        nothing = (0.0,) * (3 * len(self.keypoint_names))
        keypoints = np.array([a.keypoints or nothing for a in annotations], np.float32)
        keypoints = keypoints.reshape(-1, len(self.keypoint_names), 3)
        centres = keypoints + np.array([PIXEL_CENTRE, PIXEL_CENTRE, 0], np.float32)
        return np.where(keypoints[..., 2:] > 0, centres, np.float32(0))


def _clip(annotation: Annotation, record: ImageRecord) -> tuple[float, float, float, float]:
    x, y, width, height = annotation.bbox_xywh
    return max(x, 0.0), max(y, 0.0), min(x + width, record.width), min(y + height, record.height)
