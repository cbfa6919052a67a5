"""The oracle: each op as plain float64 loops written from its definition, never from an implementation.

Slow on purpose; use small inputs. Boxes are xyxy in continuous pixels, pixel i covers [i, i+1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes; 0 when both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union if union > 0 else 0.0


def resized_picture(image: npt.ArrayLike, size: tuple[int, int]) -> Float:
    """A picture [H, W, 3] at another size [h, w, 3]: bilinear between pixel centres, not antialiased, not rounded."""
    pixels = np.asarray(image, np.float64)
    out = np.empty((*size, 3))
    for y in range(size[0]):
        for x in range(size[1]):
            out[y, x] = 0
            for row, share_y in _around((y + 0.5) * pixels.shape[0] / size[0] - 0.5, pixels.shape[0]):
                for column, share_x in _around((x + 0.5) * pixels.shape[1] / size[1] - 0.5, pixels.shape[1]):
                    out[y, x] += share_y * share_x * pixels[row, column]
    return out


def _around(place: float, length: int) -> list[tuple[int, float]]:
    """The two pixels of 0..length-1 around a place, and the share of each; the edge goes on outside."""
    below = math.floor(place)
    share = place - below
    return [(min(max(below, 0), length - 1), 1 - share), (min(max(below + 1, 0), length - 1), share)]


def greedy_nms(boxes: npt.ArrayLike, scores: npt.ArrayLike, thresh: float) -> list[int]:
    """Indices kept, best score first; ties keep the lower index; IoU > thresh with a kept box drops a box."""
    boxes_ = np.asarray(boxes, np.float64).reshape(-1, 4)
    scores_ = np.asarray(scores, np.float64).reshape(-1)
    kept: list[int] = []
    for i in sorted(range(len(scores_)), key=lambda j: (-scores_[j], j)):
        if all(iou(boxes_[i], boxes_[j]) <= thresh for j in kept):
            kept.append(i)
    return kept


def decode_box(anchor: Sequence[float], delta: Sequence[float], height: float, width: float) -> list[float]:
    """The box that dx dy dw dh make of an anchor, clipped to an image; dw and dh are cut at log(1000 / 16)."""
    box = []
    for low, high, shift, scale, limit in (
        (anchor[0], anchor[2], delta[0], delta[2], width),
        (anchor[1], anchor[3], delta[1], delta[3], height),
    ):
        side = high - low
        centre = low + side / 2 + shift * side
        half = side * math.exp(min(scale, math.log(1000 / 16))) / 2
        box.append([min(max(end, 0.0), limit) for end in (centre - half, centre + half)])
    return [box[0][0], box[1][0], box[0][1], box[1][1]]


def is_large(box: Sequence[float], min_side: float) -> bool:
    """Both sides are at least `min_side`."""
    return box[2] - box[0] >= min_side and box[3] - box[1] >= min_side


def level_candidates(
    op: Any, level: int, logits: npt.ArrayLike, deltas: npt.ArrayLike, size: Sequence[float]
) -> list[tuple[float, list[float]]]:
    """(logit, box) of the best anchors of a level that are large enough: logits [A, Hi, Wi], deltas [4A, Hi, Wi]."""
    scores, shifts = np.asarray(logits, np.float64), np.asarray(deltas, np.float64)
    anchors, rows, columns = scores.shape
    each = len(op.anchor_sizes) // len(op.strides)
    sizes = op.anchor_sizes[level * each : (level + 1) * each]
    cell_anchors = [(side, ratio) for side in sizes for ratio in op.aspect_ratios]
    order = sorted(
        (-scores[a, y, x], index, y, x, a)
        for index, (y, x, a) in enumerate(np.ndindex(rows, columns, anchors))
        if not math.isnan(scores[a, y, x])
    )
    found = []
    for negative, _, y, x, a in order[: op.pre_nms_per_level]:
        area_root, ratio = cell_anchors[a]
        half_w, half_h = area_root / math.sqrt(ratio) / 2, area_root * math.sqrt(ratio) / 2
        if op.anchor_rounded:
            half_w, half_h = round(half_w), round(half_h)
        cx, cy = ((i + op.anchor_centre_offset) * op.strides[level] for i in (x, y))
        anchor = (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
        box = decode_box(anchor, shifts[4 * a : 4 * a + 4, y, x], *size)
        if is_large(box, op.min_side):
            found.append((-negative, box))
    return found


def proposal_nms(
    op: Any, image_info: npt.ArrayLike, logits: Sequence[npt.ArrayLike], deltas: Sequence[npt.ArrayLike]
) -> list[Float]:
    """ProposalNMS: proposals [n, 4] of each image, best first. `op` has the attributes of docs/architecture.md."""
    answer = []
    for image, size in enumerate(np.asarray(image_info, np.float64)[:, :2]):
        found: list[tuple[float, list[float]]] = []
        for level in range(len(op.strides)):
            maps = np.asarray(logits[level])[image], np.asarray(deltas[level])[image]
            candidates = level_candidates(op, level, *maps, size)
            kept = greedy_nms([c[1] for c in candidates], [c[0] for c in candidates], op.nms_thresh)
            found += [candidates[index] for index in kept]
        found.sort(key=lambda entry: -entry[0])  # stable: ties stay in the order of levels
        answer.append(np.array([box for _, box in found[: op.max_proposals]]).reshape(-1, 4))
    return answer


def classwise_nms(
    op: Any,
    class_logits: npt.ArrayLike,
    box_deltas: npt.ArrayLike,
    proposals: npt.ArrayLike,
    num_proposals: npt.ArrayLike,
    image_info: npt.ArrayLike,
) -> list[list[tuple[float, int, list[float]]]]:
    """ClasswiseNMS: (score, class, box) of each image's detections, best first.

    Scores are rounded to float32, the type that the op's output has, before they are ordered.
    """
    boxes = np.asarray(proposals, np.float64)
    batch, rows = boxes.shape[:2]
    all_logits = np.asarray(class_logits, np.float64).reshape(batch, rows, op.num_classes + 1)
    all_deltas = np.asarray(box_deltas, np.float64).reshape(batch, rows, op.num_classes, 4)
    answer = []
    for image, (count, info) in enumerate(zip(np.asarray(num_proposals), np.asarray(image_info), strict=True)):
        exponents = np.exp(all_logits[image] - all_logits[image].max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
        detections: list[tuple[float, int, int, list[float]]] = []
        for label in range(op.num_classes):
            mine = []
            for row in range(count):
                score = scores[row, label]
                delta = all_deltas[image, row, label] / op.delta_weights
                box = decode_box(boxes[image, row], delta, float(info[0]), float(info[1]))
                if score > op.score_thresh and is_large(box, op.min_side):
                    mine.append((-float(np.float32(score)), row, label, box))
            kept = greedy_nms([m[3] for m in mine], [-m[0] for m in mine], op.nms_thresh)
            detections += [mine[index] for index in kept]
        detections.sort(key=lambda entry: entry[:3])
        answer.append([(-negative, label, box) for negative, _, label, box in detections[: op.max_detections]])
    return answer


def bilinear(image: Float, y: float, x: float) -> float:
    """Value of a [H, W] map at continuous index (y, x), cell centres at whole numbers.

    The rule of RoIAlign: points more than one cell outside are 0, points within one cell of the border are
    clamped to it.
    """
    height, width = image.shape
    if y < -1.0 or y > height or x < -1.0 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    y0, x0 = min(int(y), height - 1), min(int(x), width - 1)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    dy = y - y0 if y0 < height - 1 else 0.0
    dx = x - x0 if x0 < width - 1 else 0.0
    top = image[y0, x0] * (1 - dx) + image[y0, x1] * dx
    bottom = image[y1, x0] * (1 - dx) + image[y1, x1] * dx
    return float(top * (1 - dy) + bottom * dy)


def roi_align(
    feature: npt.ArrayLike,
    box: Sequence[float],
    stride: float,
    pooled_side: int,
    sampling_ratio: int,
    aligned: bool,
    mode: str = "align_avg",
) -> Float:
    """One box on one [C, H, W] map; one without area or with a coordinate that is not finite gives zeros. [C, P, P].

    Modes: `align_avg` and `align_max` (average and maximum of the bilinear values at the sampling points), `pool`
    (`roi_pool`), `warp`: the box [round(x0), round(x1) + 1] in cells, then as `align_avg`. Ref: Mask R-CNN, section 3.
    """
    maps = np.asarray(feature, np.float64)
    out = np.zeros((maps.shape[0], pooled_side, pooled_side))
    if not all(math.isfinite(edge) for edge in box) or box[2] <= box[0] or box[3] <= box[1]:
        return out
    if mode == "pool":
        return roi_pool(maps, box, stride, pooled_side)
    cells = [edge / stride for edge in box]
    if mode == "warp":
        x0, y0, x1, y1 = (_round_half_away(edge) for edge in cells)
        cells = [x0, y0, max(x1, x0) + 1, max(y1, y0) + 1]
    offset = 0.5 if aligned else 0.0
    x0, y0 = cells[0] - offset, cells[1] - offset
    width, height = cells[2] - cells[0], cells[3] - cells[1]
    if not aligned:  # the legacy rule: at least one cell wide
        width, height = max(width, 1.0), max(height, 1.0)
    bin_w, bin_h = width / pooled_side, height / pooled_side
    count_y = sampling_ratio or max(math.ceil(bin_h), 1)
    count_x = sampling_ratio or max(math.ceil(bin_w), 1)
    for c, i, j in np.ndindex(*out.shape):
        values = []
        for sy in range(count_y):
            for sx in range(count_x):
                y = y0 + (i + (sy + 0.5) / count_y) * bin_h
                x = x0 + (j + (sx + 0.5) / count_x) * bin_w
                values.append(bilinear(maps[c], y, x))
        out[c, i, j] = max(values) if mode == "align_max" else sum(values) / len(values)
    return out


def roi_pool(maps: Float, box: Sequence[float], stride: float, pooled_side: int) -> Float:
    """RoIPool of one box with an area: the greatest cell of each quantised bin, 0 for an empty bin. [C, P, P].

    The bin's edges are rounded in float32 as Caffe2, torchvision and the original do: it is part of the definition.
    """
    x0, y0, x1, y1 = (int(_round_half_away(edge / stride)) for edge in box)
    bin_w = np.float32(max(x1 - x0 + 1, 1)) / np.float32(pooled_side)
    bin_h = np.float32(max(y1 - y0 + 1, 1)) / np.float32(pooled_side)
    out = np.zeros((maps.shape[0], pooled_side, pooled_side))
    for c, i, j in np.ndindex(*out.shape):
        top, bottom = (y0 + int(edge) for edge in (np.floor(np.float32(i) * bin_h), np.ceil(np.float32(i + 1) * bin_h)))
        left, right = (x0 + int(edge) for edge in (np.floor(np.float32(j) * bin_w), np.ceil(np.float32(j + 1) * bin_w)))
        cells = maps[c, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        out[c, i, j] = cells.max() if cells.size else 0.0
    return out


def _round_half_away(value: float) -> float:
    """The nearest whole number, halves away from zero: C's round."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def level_of(box: Sequence[float], canonical_size: float, canonical_level: int, first: int, last: int) -> int:
    """Pyramid level number of a box. Ref: FPN paper, equation 1; 1e-6 as in torchvision and detectron2."""
    side = math.sqrt(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0))
    level = math.floor(canonical_level + math.log2(side / canonical_size + 1e-6))
    return min(max(level, first), last)


def multiscale_roi_align(
    features: Sequence[npt.ArrayLike],
    box: Sequence[float],
    strides: Sequence[int],
    pooled_side: int,
    sampling_ratio: int,
    aligned: bool,
    canonical_size: float = 224.0,
    canonical_level: int = 4,
    mode: str = "align_avg",
) -> Float:
    """RoIAlign of one box on the level of a pyramid ([C, Hi, Wi] each) that fits its size."""
    first = int(math.log2(strides[0]))
    level = level_of(box, canonical_size, canonical_level, first, first + len(strides) - 1) - first
    return roi_align(features[level], box, strides[level], pooled_side, sampling_ratio, aligned, mode)


def mask_value(mask: npt.ArrayLike, v: float, u: float) -> float:
    """Bilinear value of an M x M mask at (v, u), in cells; cell i covers [i, i+1); zero outside the grid."""
    cells = np.asarray(mask, np.float64)
    side = cells.shape[0]
    y, x = v - 0.5, u - 0.5
    y0, x0 = math.floor(y), math.floor(x)
    total = 0.0
    for yi, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for xi, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if 0 <= yi < side and 0 <= xi < side:
                total += wy * wx * cells[yi, xi]
    return total


def paste_values(mask: npt.ArrayLike, box: Sequence[float], size: tuple[int, int]) -> Float:
    """Probabilities in a box resampled at the pixel centres of a (height, width) image, before the threshold."""
    cells = np.clip(np.nan_to_num(np.asarray(mask, np.float64), nan=0.0), 0, 1)
    side = cells.shape[0]
    out = np.zeros(size)
    width, height = box[2] - box[0], box[3] - box[1]
    if width <= 0 or height <= 0:
        return out
    for y, x in np.ndindex(*size):
        v = (y + 0.5 - box[1]) / height * side
        u = (x + 0.5 - box[0]) / width * side
        out[y, x] = mask_value(cells, v, u)
    return out


def paste_values_whole_pixels(mask: npt.ArrayLike, box: Sequence[float], size: tuple[int, int]) -> Float:
    """The same by the rule of torchvision: a border of one cell, the box one cell wider on each side and whole pixels.

    The box is float32, as it is part of the rule where its corners are cut off. Ref: torchvision,
    models/detection/roi_heads.py.
    """
    cells = np.pad(np.clip(np.nan_to_num(np.asarray(mask, np.float64), nan=0.0), 0, 1), 1)
    side, out = len(cells), np.zeros(size)
    if not (box[0] <= box[2] and box[1] <= box[3]):
        return out
    scale, two = np.float32(side / (side - 2)), np.float32(2)
    x0, y0, x1, y1 = (np.float32(edge) for edge in box)
    centre_x, centre_y = (x0 + x1) / two, (y0 + y1) / two
    half_x, half_y = (x1 - x0) / two * scale, (y1 - y0) / two * scale
    left, top = int(centre_x - half_x), int(centre_y - half_y)
    width, height = int(centre_x + half_x) - left + 1, int(centre_y + half_y) - top + 1
    for y, x in np.ndindex(*size):
        if left <= x < left + width and top <= y < top + height:
            v, u = (y - top + 0.5) / height * side, (x - left + 0.5) / width * side
            out[y, x] = mask_value(cells, min(max(v, 0.5), side - 0.5), min(max(u, 0.5), side - 0.5))
    return out


def paste_mask(
    mask: npt.ArrayLike, box: Sequence[float], size: tuple[int, int], rule: str = "aligned"
) -> npt.NDArray[np.bool_]:
    """The paste rules of docs/architecture.md: pixels whose resampled value is 0.5 or 2^-28 less, or 2^-28 more."""
    if rule == "detectron":
        return paste_values_whole_pixels(mask, box, size) >= 0.5 + 2**-28
    return paste_values(mask, box, size) >= 0.5 - 2**-28


def encode_rle(mask: npt.ArrayLike) -> list[int]:
    """Uncompressed COCO counts of a [H, W] mask: column-major runs, zeros first."""
    counts, current, run = [], False, 0
    for value in np.asarray(mask, bool).ravel(order="F"):
        if value != current:
            counts.append(run)
            current, run = bool(value), 0
        run += 1
    counts.append(run)
    return counts


def decode_rle(counts: Sequence[int], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The inverse of `encode_rle`."""
    flat: list[bool] = []
    for i, run in enumerate(counts):
        flat.extend([i % 2 == 1] * run)
    return np.array(flat, bool).reshape(size, order="F")
