"""Masks of objects that overlap others, beside those of objects that stand alone: does overlap harm them?

The paper shows pictures; these are numbers for the same question: masks that mix objects up lie on neighbours. What not
telling objects apart at all would give is beside it: all pixels of objects in an object's true box.

Ref: paper section 4.1 and figure 6: "FCIS+++ exhibits systematic artifacts on overlapping instances", "Mask R-CNN shows
no such artifacts" (ledger P53).

Letters: G objects, D detections, H W an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from rich.table import Table

from maskline_train.data.coco import CocoDataset, Objects
from maskline_train.evaluation.evaluate import Result, percent
from maskline_train.evaluation.predict import MIN_SCORE, pairs_sheet
from maskline_train.files import save_image

GROUPS = ("alone", "overlaps another class", "overlaps its own class")
MIN_COVERED = 0.1  # share of an object's box under another's box, from which on it overlaps
MIN_BOX_IOU = 0.5  # of a detection that counts as found, as for AP50


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Means over the objects of one group; None where there is none.

    Attributes:
        objects: G.
        found: those with a detection of their class.
        box_iou: of the found ones with their detections' boxes.
        mask_iou: with their detections' masks.
        on_others: share of a detection's mask that lies on other objects' visible pixels.
        unseparated: that share for a mask of all objects' pixels in the found one's true box.
    """

    objects: int
    found: int
    box_iou: float | None
    mask_iou: float | None
    on_others: float | None
    unseparated: float | None


_Fit = tuple[float, float, float, float]  # box IoU, mask IoU, share on others, that share unseparated


def score_overlaps(dataset: CocoDataset, results: Sequence[Result], num_images: int) -> dict[str, Overlap]:
    """Compare masks by how their objects lie.

    Args:
        dataset: the ground truth.
        results: COCO results with masks.
        num_images: so many of the data set's images were looked at, from the first.

    Returns:
        For each of GROUPS its means.

    Raises:
        ValueError: results without masks.
    """
    if any("segmentation" not in result for result in results):
        raise ValueError("overlaps: got results without masks, expected those of a model with a mask branch")
    rows: dict[str, list[_Fit | None]] = {name: [] for name in GROUPS}
    for index in range(num_images):
        objects = dataset.objects(index)
        mine = [r for r in results if r["image_id"] == dataset.image_ids[index] and r["score"] >= MIN_SCORE]
        groups = group_of(objects)
        for i, group in enumerate(groups):
            same = [r for r in mine if r["category_id"] == dataset.category_ids[objects.labels[i]]]
            rows[group].append(_fit(objects, i, same))
    return {name: _mean(found) for name, found in rows.items()}


def group_of(objects: Objects) -> list[str]:
    """For each of G objects one of GROUPS; a neighbour of its own class counts before one of another."""
    low = np.maximum(objects.boxes[:, None, :2], objects.boxes[None, :, :2])
    high = np.minimum(objects.boxes[:, None, 2:], objects.boxes[None, :, 2:])
    shared = (high - low).clip(min=0).prod(axis=2)  # [G, G] px
    own = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1)
    near = shared >= MIN_COVERED * own[:, None]
    np.fill_diagonal(near, False)
    alike = objects.labels[:, None] == objects.labels[None, :]
    return [GROUPS[2 if (near & alike)[i].any() else int(near[i].any())] for i in range(len(objects.labels))]


def draw_overlaps(path: Path, dataset: CocoDataset, results: Sequence[Result], num_images: int) -> None:
    """Write the four images with most overlapping objects, the truth left and the detections right, two pairs a row.

    Args:
        path: of the picture, .png or .jpg; its folder is made.
        dataset: the ground truth.
        results: COCO results.
        num_images: so many of the data set's images were looked at, from the first.
    """
    counts = [[group_of(dataset.objects(i)).count(name) for name in reversed(GROUPS)] for i in range(num_images)]
    chosen = sorted(range(num_images), key=counts.__getitem__, reverse=True)[:4]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(path, pairs_sheet(dataset, results, chosen), "PNG")


def as_rich(found: dict[str, Overlap]) -> Table:
    """For a terminal."""
    table = Table("an object", title="Masks of overlapping objects, in %", title_justify="left")
    for name in ("objects", "found", "box IoU", "mask IoU", "on others", "(unseparated)"):
        table.add_column(name, justify="right")
    for name, group in found.items():
        means = (group.box_iou, group.mask_iou, group.on_others, group.unseparated)
        table.add_row(name, str(group.objects), str(group.found), *map(percent, means))
    return table


def _fit(objects: Objects, i: int, results: Sequence[Result]) -> _Fit | None:
    """How the detection that fits object `i` best by its box fits it; None where none does."""
    if not results:
        return None
    box = objects.boxes[i].astype(np.float64)
    truth_xywh = np.concatenate([box[:2], box[2:] - box[:2]])
    boxes_xywh = np.array([result["bbox"] for result in results], np.float64)
    ious = np.asarray(coco_mask.iou(boxes_xywh, truth_xywh[None], [0]))[:, 0]
    best = int(ious.argmax())
    if ious[best] < MIN_BOX_IOU:
        return None
    mask, truth = _decoded(results[best]), objects.each_mask[i].astype(bool)
    others = np.zeros_like(truth)
    for mask_of_other in (objects.each_mask[j] for j in range(len(objects.each_mask)) if j != i):
        others |= mask_of_other.astype(bool)
    others &= ~truth
    x0, y0, x1, y1 = np.floor(box + 0.5).astype(int)
    others_inside = others[y0:y1, x0:x1].sum()
    return (
        float(ious[best]),
        float((mask & truth).sum() / (mask | truth).sum()),
        float((mask & others).sum() / max(int(mask.sum()), 1)),
        float(others_inside / (others_inside + truth.sum())),
    )


def _decoded(result: Result) -> npt.NDArray[np.bool_]:
    rle = result["segmentation"]
    decoded = coco_mask.decode({**rle, "counts": rle["counts"].encode("ascii")})
    return np.asarray(decoded).astype(bool)


def _mean(rows: Sequence[_Fit | None]) -> Overlap:
    found = [row for row in rows if row is not None]
    means = np.mean(found, axis=0).tolist() if found else [None] * 4
    return Overlap(len(rows), len(found), *means)
