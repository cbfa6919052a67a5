"""What the network is trained towards: ground truth, matching, sampling and mask targets.

Letters: B images, G ground-truth objects, N anchors or proposals of an image, R proposals an image, S sampled RoIs of a
batch, K foreground classes, J keypoints, H W canvas, M mask side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import roi_align

from maskline_train.model import boxes as box_ops
from maskline_train.model.draws import priorities
from maskline_train.target import Target

# Objects a chunk when boxes are matched: bounds the overlap matrix of 268 569 anchors at 17 MB a temporary.
_OBJECTS_A_CHUNK = 16
# Pixels around the boxes of an object that bilinear sampling may read, the legacy one-pixel RoI included.
_CROP_MARGIN_PX = 2


@dataclasses.dataclass(frozen=True)
class SamplingSpec:
    """How anchors and RoIs are chosen in training.

    Ref: Faster R-CNN 3.1.2 and 3.1.3 for the anchors; paper 3.1 for the RoIs: positive from IoU 0.5 on, 512 an image,
    "with a ratio of 1:3 of positive to negatives".
    """

    rpn_samples: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_positive_iou: float = 0.7
    rpn_negative_iou: float = 0.3
    pre_nms_per_level: int = 2000  # FPN paper 4.1 and Detectron: more proposals than at inference
    max_proposals: int = 2000
    roi_samples: int = 512
    roi_positive_fraction: float = 0.25
    roi_positive_iou: float = 0.5


class Matches(NamedTuple):
    """Best ground truth of each box.

    Attributes:
        iou: [N] float32, with the best object; 0 where there is none.
        objects: [N] int64, the best object (ties: the lowest); 0 where there is none.
        is_best_of_an_object: [N] bool: no box overlaps some object more.
    """

    iou: Tensor
    objects: Tensor
    is_best_of_an_object: Tensor


class AnchorSamples(NamedTuple):
    """Anchors of one image that the RPN is trained on.

    Attributes:
        positives: [p] int64 anchor indices.
        negatives: [n] int64 anchor indices.
        gt_boxes: [p, 4] float32 xyxy canvas px, the object of each positive.
    """

    positives: Tensor
    negatives: Tensor
    gt_boxes: Tensor


class RoISamples(NamedTuple):
    """RoIs of a batch that the heads are trained on; of each image the positives come first.

    Attributes:
        boxes: [S, 4] float32 xyxy canvas px.
        images: [S] int64 in 0..B-1.
        labels: [S] int64, K for negatives.
        objects: [S] int64, the object of each positive; without meaning for negatives.
    """

    boxes: Tensor
    images: Tensor
    labels: Tensor
    objects: Tensor

    def positives(self, num_classes: int) -> RoISamples:
        """The rows that hold an object, in order."""
        rows = torch.nonzero(self.labels < num_classes)[:, 0]
        return RoISamples(self.boxes[rows], self.images[rows], self.labels[rows], self.objects[rows])


def match(boxes: Tensor, gt_boxes: Tensor) -> Matches:
    """Match every box with the object that it overlaps most.

    Args:
        boxes: [N, 4] xyxy.
        gt_boxes: [G, 4] xyxy; G may be 0.
    """
    best_iou = boxes.new_zeros(len(boxes))
    best_object = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    is_best = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(gt_boxes), _OBJECTS_A_CHUNK):
        iou = box_ops.iou_matrix(gt_boxes[start : start + _OBJECTS_A_CHUNK], boxes)  # [g, N]
        chunk_iou, chunk_object = iou.max(dim=0)
        better = chunk_iou > best_iou
        best_iou = torch.where(better, chunk_iou, best_iou)
        best_object = torch.where(better, chunk_object + start, best_object)
        most = iou.amax(dim=1, keepdim=True)  # [g, 1]; an object that no box touches has no best box
        is_best |= ((iou == most) & (most > 0)).any(dim=0)
    return Matches(best_iou, best_object, is_best)


def sample(
    is_positive: Tensor, is_negative: Tensor, count: int, positive_fraction: float, order: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw at most `count` boxes, at most `positive_fraction` of them positive, negatives filling the rest.

    Args:
        is_positive: [N] bool.
        is_negative: [N] bool.
        count: of samples.
        positive_fraction: of `count`.
        order: [N] int64, of two boxes of a kind the one with the lower number is drawn first (`draws.priorities`).

    Returns:
        Indices of the positives and of the negatives, int64, in that order.
    """
    positives = _draw(is_positive, int(count * positive_fraction), order)
    return positives, _draw(is_negative, count - len(positives), order)


def _draw(candidates: Tensor, count: int, order: Tensor) -> Tensor:
    indices = torch.nonzero(candidates)[:, 0]
    first = torch.topk(order[indices], min(count, len(indices)), largest=False).indices
    return indices[first]


@torch.no_grad()
def sample_anchors(anchors: Tensor, target: Target, spec: SamplingSpec, key: Tensor) -> AnchorSamples:
    """Choose the anchors that the RPN is trained on.

    An anchor is positive from `rpn_positive_iou` on, or where it is the best of an object (so that every object has
    one); negative below `rpn_negative_iou`; otherwise ignored. Ref: Faster R-CNN, section 3.1.2.

    Args:
        anchors: [N, 4] xyxy canvas px, those that leave the image included.
        target: of the image.
        spec: counts and thresholds.
        key: of the image's anchors; an anchor is drawn by its number, so a wider canvas draws others.
    """
    matches = match(anchors, target.boxes)
    is_positive = (matches.iou >= spec.rpn_positive_iou) | matches.is_best_of_an_object
    is_negative = (matches.iou < spec.rpn_negative_iou) & ~is_positive
    order = priorities(key, len(anchors))
    positives, negatives = sample(is_positive, is_negative, spec.rpn_samples, spec.rpn_positive_fraction, order)
    return AnchorSamples(positives, negatives, target.boxes[matches.objects[positives]])


@torch.no_grad()
def sample_rois(
    proposals: Tensor,
    num_proposals: Tensor,
    targets: Sequence[Target],
    num_classes: int,
    spec: SamplingSpec,
    keys: Tensor,
) -> RoISamples:
    """Choose the RoIs that the heads are trained on; the ground-truth boxes are candidates too.

    Args:
        proposals: [B, R, 4] xyxy canvas px.
        num_proposals: [B]; rows past it are ignored.
        targets: one an image.
        num_classes: K, the label of a negative.
        spec: counts and thresholds.
        keys: [B], of the images' RoIs. A candidate is drawn by its row in `proposals`, or, behind all of them, by the
            number of its object.
    """
    chosen = []
    most = proposals.shape[1]
    for image, target in enumerate(targets):
        count = int(num_proposals[image])
        candidates = torch.cat([proposals[image, :count], target.boxes])
        numbers = priorities(keys[image], most + len(target.boxes))
        order = torch.cat([numbers[:count], numbers[most:]])
        matches = match(candidates, target.boxes)
        is_positive = matches.iou >= spec.roi_positive_iou
        positives, negatives = sample(is_positive, ~is_positive, spec.roi_samples, spec.roi_positive_fraction, order)
        rows = torch.cat([positives, negatives])
        objects = matches.objects[rows]
        labels = torch.full_like(rows, num_classes)
        labels[: len(positives)] = target.labels[objects[: len(positives)]]
        chosen.append(RoISamples(candidates[rows], torch.full_like(rows, image), labels, objects))
    return RoISamples(*(torch.cat(column) for column in zip(*chosen, strict=True)))


@torch.no_grad()
def mask_targets(rois: RoISamples, targets: Sequence[Target], side: int, aligned: bool) -> Tensor:
    """Mask targets of positive RoIs: "the intersection between an RoI and its associated ground-truth mask".

    Only the part of each mask around its RoIs is read, object by object.
    Differs: Detectron rounds the targets to 0 and 1; like torchvision, these keep the share of a cell that is covered.

    Args:
        rois: positives only.
        targets: one an image.
        side: M.
        aligned: the half-pixel convention of RoIAlign, the same as for the features that predict the mask.

    Returns:
        [S, M, M] float32 in 0..1.
    """
    result = rois.boxes.new_zeros((len(rois.boxes), side, side))
    for image, target in enumerate(targets):
        in_image = rois.images == image
        for index in torch.unique(rois.objects[in_image]).tolist():
            rows = torch.nonzero(in_image & (rois.objects == index))[:, 0]
            result[rows] = _object_mask_targets(target.masks[index], rois.boxes[rows], side, aligned)
    return result


def _object_mask_targets(mask: Tensor, boxes: Tensor, side: int, aligned: bool) -> Tensor:
    """Mask targets [n, M, M] of the RoIs [n, 4] of one object with mask [H, W]."""
    height, width = mask.shape
    x0, y0 = (max(0, int(value) - _CROP_MARGIN_PX) for value in boxes[:, :2].amin(dim=0).floor().tolist())
    x1, y1 = (int(value) + _CROP_MARGIN_PX for value in boxes[:, 2:].amax(dim=0).ceil().tolist())
    crop = mask[None, None, y0 : min(y1, height), x0 : min(x1, width)].to(boxes.dtype)
    shifted = boxes - boxes.new_tensor([x0, y0, x0, y0])
    adaptive = 0  # every pixel under a cell counts
    pooled: Tensor = roi_align(crop, [shifted], side, 1.0, adaptive, aligned)
    return pooled[:, 0]


@torch.no_grad()
def keypoint_targets(rois: RoISamples, targets: Sequence[Target], side: int) -> tuple[Tensor, Tensor]:
    """The one foreground cell of each heatmap, and which heatmaps have one.

    A keypoint counts where it is labelled (visibility above 0, hidden ones too, as in Detectron) and lies inside its
    RoI, the right and bottom edges included.

    Args:
        rois: S positives.
        targets: one an image, all with keypoints.
        side: M.

    Returns:
        cells [S, J] int64, row * M + column (0 where there is none), and counted [S, J] bool.
    """
    num_keypoints = _keypoints_of(targets[0]).shape[1]
    keypoints = rois.boxes.new_zeros((len(rois.boxes), num_keypoints, 3))
    for image, target in enumerate(targets):
        rows = torch.nonzero(rois.images == image)[:, 0]
        keypoints[rows] = _keypoints_of(target)[rois.objects[rows]]
    corner, far = rois.boxes[:, None, :2], rois.boxes[:, None, 2:]
    points = keypoints[..., :2]
    inside = ((points >= corner) & (points <= far)).all(dim=2)
    counted = inside & (keypoints[..., 2] > 0)
    cells = ((points - corner) * (side / (far - corner))).floor().clamp(0, side - 1)  # the far edge: the last cell
    index = (cells[..., 1] * side + cells[..., 0]).to(torch.int64)
    return torch.where(counted, index, torch.zeros_like(index)), counted


def _keypoints_of(target: Target) -> Tensor:
    if target.keypoints is None:
        raise ValueError("targets: got one without keypoints, expected keypoints [G, J, 3] in each")
    return target.keypoints
