"""The ground truth of COCOeval, made of what was read and checked: never of the file itself."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from maskline_coco.annotation import Annotation
from maskline_coco.annotation_file import ImageRecord


@dataclasses.dataclass(frozen=True)
class Categories:
    """What annotations refer to: the id and name of each class, and the J names of keypoints, mostly none."""

    ids: Sequence[int]
    names: Sequence[str]
    keypoint_names: Sequence[str]


def ground_truth(records: Iterable[ImageRecord], categories: Categories) -> Any:
    """The images and their objects as a quiet `pycocotools.coco.COCO`.

    It holds every annotation, crowd regions and boxes without area included, but those without any polygon:
    pycocotools cannot make a mask of them. A missing `iscrowd` is 0, a missing `area` that of the mask.

    The ids of annotations are numbers from 1 on, whatever the file says: COCOeval marks with 0 what found no match, so
    that an object of id 0 would never be found.
    """
    from pycocotools.coco import COCO

    coco = COCO()
    kept = list(records)
    coco.dataset = {
        "info": {},
        "images": [{"id": r.id, "file_name": r.file_name, "height": r.height, "width": r.width} for r in kept],
        "annotations": list(_annotations(kept, categories)),
        "categories": [{"id": i, "name": name} for i, name in zip(categories.ids, categories.names, strict=True)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _annotations(records: Iterable[ImageRecord], categories: Categories) -> Iterator[dict[str, Any]]:
    keys = itertools.count(1)
    for record in records:
        for annotation in record.annotations:
            if annotation.segmentation:
                yield {"id": next(keys), "image_id": record.id, **_content(annotation, categories)}


def _content(annotation: Annotation, categories: Categories) -> dict[str, Any]:
    keypoints = list(annotation.keypoints) or [0.0] * (3 * len(categories.keypoint_names))
    with_keypoints = {"keypoints": keypoints, "num_keypoints": sum(v > 0 for v in keypoints[2::3])}
    return {
        "category_id": categories.ids[annotation.label],
        "bbox": list(annotation.bbox_xywh),
        "area": annotation.area_px,
        "iscrowd": int(annotation.iscrowd),
        "segmentation": annotation.segmentation,
        **(with_keypoints if categories.keypoint_names else {}),
    }
