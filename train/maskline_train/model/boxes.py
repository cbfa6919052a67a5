"""Boxes: the pixel model, overlaps, and the coding of boxes as deltas.

The pixel model of the whole project: a box is float32 (x0, y0, x1, y1) in continuous pixels of the canvas (the padded
network input). Pixel i covers [i, i + 1), so a box that holds exactly the pixels 2, 3 and 4 of a row is x0 = 2, x1 = 5;
its width is x1 - x0 = 3, without a "+ 1". Proved by `test_width_of_a_box_is_its_number_of_pixels` in
tests/unit/train/model/test_boxes.py.

Letters: N, M boxes; D in `[..., D, 4]` any number of boxes an image; B images.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DeltaWeights = tuple[float, float, float, float]

UNIT_WEIGHTS: DeltaWeights = (1.0, 1.0, 1.0, 1.0)

# A predicted side grows at most from 16 px to 1000 px, so that exp() of an untrained head stays finite.
# Ref: detectron2's `_DEFAULT_SCALE_CLAMP`, torchvision's `bbox_xform_clip`.
MAX_LOG_SCALE = math.log(1000.0 / 16.0)


def areas(boxes: Tensor) -> Tensor:
    """Areas in square pixels.

    Args:
        boxes: [..., 4] xyxy.

    Returns:
        [...] of the dtype of `boxes`.
    """
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou_matrix(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of every pair.

    Args:
        boxes: [..., N, 4] xyxy, x0 <= x1.
        others: [..., M, 4] xyxy.

    Returns:
        [..., N, M] in 0..1; 0 where the union is empty (two zero-size boxes), never NaN.
    """
    boxes, others = boxes[..., :, None, :], others[..., None, :, :]
    # A coordinate at a time: pairs of two coordinates would be read and written with gaps.
    width = torch.minimum(boxes[..., 2], others[..., 2]) - torch.maximum(boxes[..., 0], others[..., 0])
    height = torch.minimum(boxes[..., 3], others[..., 3]) - torch.maximum(boxes[..., 1], others[..., 1])
    intersection = width.clamp_(min=0) * height.clamp_(min=0)  # [..., N, M]
    union = areas(boxes) + areas(others) - intersection
    return torch.where(union > 0, intersection / union, torch.zeros_like(union))


def encode_deltas(boxes: Tensor, anchors: Tensor, weights: DeltaWeights = UNIT_WEIGHTS) -> Tensor:
    """Deltas that turn `anchors` into `boxes`.

    Args:
        boxes: [..., 4] xyxy with positive sides.
        anchors: [..., 4] xyxy with positive sides.
        weights: factors of dx, dy, dw, dh.

    Returns:
        [..., 4] float32: (dx, dy) centre shifts in anchor sides, (dw, dh) logs of the side ratios, times `weights`.

    Ref: R-CNN's box parametrisation, as Fast and Faster R-CNN use it.
    """
    boxes, anchors = boxes.float(), anchors.float()
    sides, anchor_sides = boxes[..., 2:] - boxes[..., :2], anchors[..., 2:] - anchors[..., :2]
    centres, anchor_centres = boxes[..., :2] + 0.5 * sides, anchors[..., :2] + 0.5 * anchor_sides
    shifts = (centres - anchor_centres) / anchor_sides
    scales = torch.log(sides / anchor_sides)
    # By one number at a time: an array of them would be a copy from the host, for which a GPU is waited for.
    deltas = (*shifts.unbind(dim=-1), *scales.unbind(dim=-1))
    return torch.stack([delta * weight for delta, weight in zip(deltas, weights, strict=True)], dim=-1)


def decode_deltas(deltas: Tensor, anchors: Tensor, weights: DeltaWeights = UNIT_WEIGHTS) -> Tensor:
    """Boxes from deltas, the inverse of `encode_deltas` for side ratios up to 1000/16.

    Args:
        deltas: [..., 4] dx, dy, dw, dh of any floating dtype; decoded in float32 whatever the network runs in.
        anchors: [..., 4] xyxy, broadcast against `deltas`.
        weights: what `encode_deltas` multiplied by.

    Returns:
        [..., 4] float32 xyxy, not clipped to the image.
    """
    deltas, anchors = deltas.float(), anchors.float()
    # By one number at a time, as in `encode_deltas`.
    columns = zip(deltas.unbind(dim=-1), weights, strict=True)
    deltas = torch.stack([column / weight for column, weight in columns], dim=-1)
    anchor_sides = anchors[..., 2:] - anchors[..., :2]
    centres = deltas[..., :2] * anchor_sides + (anchors[..., :2] + 0.5 * anchor_sides)
    half_sides = 0.5 * (torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_SCALE)) * anchor_sides)
    return torch.cat([centres - half_sides, centres + half_sides], dim=-1)


def clip_to_image(boxes: Tensor, image_info: Tensor) -> Tensor:
    """Boxes cut to the resized image, which is what of the canvas is not padding.

    Args:
        boxes: [..., D, 4] xyxy.
        image_info: [..., 6]; entries 0 and 1 are the resized height and width.

    Returns:
        [..., D, 4]; a box outside the image gets a zero side.
    """
    limits = image_info[..., None, [1, 0, 1, 0]].to(boxes.dtype)  # [..., 1, 4]
    return torch.minimum(boxes.clamp(min=0), limits)


def has_min_side(boxes: Tensor, min_side: float) -> Tensor:
    """True where both sides are at least `min_side` pixels: [..., 4] xyxy to [...] bool."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= min_side).all(dim=-1)
