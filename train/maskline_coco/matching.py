"""Which of two lists of objects are the same ones. Letters: N and G boxes, or masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# What turns a box of first and last pixels (`ModelSpec.pixel_boxes`) into its edges, by which such boxes are matched:
# between the corners of one of a single pixel there is nothing.
BEYOND_LAST_PIXEL = np.array([0, 0, 1, 1], np.float32)


def iou_matrix(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """IoU of boxes [N, 4] with boxes [G, 4], xyxy: [N, G]; 0 where a union is empty."""
    a_, b_ = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(a_[:, None, :2], b_[None, :, :2])
    high = np.minimum(a_[:, None, 2:], b_[None, :, 2:])
    intersection = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = np.prod(a_[:, 2:] - a_[:, :2], axis=1), np.prod(b_[:, 2:] - b_[:, :2], axis=1)
    union = area_a[:, None] + area_b[None] - intersection
    overlaps: npt.NDArray[np.float64] = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return overlaps


def match_boxes(
    boxes: npt.NDArray[np.float32],
    others: npt.NDArray[np.float32],
    allowed: npt.NDArray[np.bool_],
    min_iou: float,
    pixel_boxes: bool = False,
) -> npt.NDArray[np.int64]:
    """For each of `boxes` [N, 4] the index of its own partner in `others` [G, 4], or -1.

    Pairs are made greedily, best IoU first, each box once, only where `allowed` [N, G] and IoU >= min_iou. With
    `pixel_boxes` corners are first and last pixels.
    """
    if pixel_boxes:
        boxes, others = boxes + BEYOND_LAST_PIXEL, others + BEYOND_LAST_PIXEL
    overlaps = np.where(allowed, iou_matrix(boxes, others), -1.0)
    rows, columns = np.nonzero(overlaps >= min_iou)
    return _each_once(rows, columns, np.argsort(-overlaps[rows, columns], kind="stable"), len(boxes))


def match_in_order(overlaps: npt.NDArray[np.float64], min_iou: float) -> npt.NDArray[np.int64]:
    """For each row of `overlaps` [N, G] the index of its own column, or -1, as COCOeval pairs detections.

    The rows choose in their order, best score first: each the free column with the best IoU >= min_iou. So what the
    first n rows have does not depend on those behind them.
    """
    rows, columns = np.nonzero(overlaps >= min_iou)
    return _each_once(rows, columns, np.lexsort((-overlaps[rows, columns], rows)), len(overlaps))


def _each_once(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], order: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """[count] partners of the rows: pairs are made in an order, as far as neither has one yet."""
    partner = np.full(count, -1, np.int64)
    taken: set[int] = set()
    for k in order:
        i, j = int(rows[k]), int(columns[k])
        if partner[i] < 0 and j not in taken:
            partner[i] = j
            taken.add(j)
    return partner
