"""Which anchors and RoIs a step is trained on: matching with ground truth, and draws of fixed size.

Every array has a size that the spec decides, never the picture: what is not there weighs nothing. So nothing here asks
a GPU for a number, and a compiled step is the same for every batch.

Letters: B images, G ground-truth objects an image, N anchors or candidates an image, R proposals an image, S sampled
RoIs an image (`roi_samples`, or the candidates where there are fewer), K foreground classes.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from maskline_train.ground_truth import GroundTruth
from maskline_train.model import boxes as box_ops
from maskline_train.model.draws import priorities

# Rows of the overlap matrix at a time. A CPU: bounds a temporary of 268 569 anchors at 17 MB. A GPU has the memory and
# pays for each launch.
_OVERLAP_ROWS, _OVERLAP_ROWS_ON_A_GPU = 16, 256
_NEVER = 1 << 62  # above every priority


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
        iou: [B, N] float32, with the best object; 0 where there is none.
        objects: [B, N] int64, the best object (ties: the lowest); 0 where there is none.
        is_best_of_an_object: [B, N] bool: no box overlaps some object more.
    """

    iou: Tensor
    objects: Tensor
    is_best_of_an_object: Tensor


class AnchorSamples(NamedTuple):
    """Anchors that the RPN is trained on: p rows an image for positives, n for negatives, `rpn_samples` count at most.

    Attributes:
        positives: [B, p] int64 anchor indices.
        is_positive: [B, p] bool: which of them count.
        negatives: [B, n] int64 anchor indices.
        is_negative: [B, n] bool: which of them count.
        gt_boxes: [B, p, 4] float32 xyxy canvas px, the object of each positive.
    """

    positives: Tensor
    is_positive: Tensor
    negatives: Tensor
    is_negative: Tensor
    gt_boxes: Tensor


class RoISamples(NamedTuple):
    """RoIs of a batch that the heads are trained on: S rows an image, one image behind the other.

    Attributes:
        boxes: [B * S, 4] float32 xyxy canvas px, zero where a row does not count.
        images: [B * S] int64 in 0..B-1.
        labels: [B * S] int64, K for negatives.
        objects: [B * S] int64, the object of each positive; without meaning for negatives.
        counted: [B * S] bool; the other rows are there for the size alone.
    """

    boxes: Tensor
    images: Tensor
    labels: Tensor
    objects: Tensor
    counted: Tensor

    def only(self, rows: Tensor) -> RoISamples:
        """The rows that a mask [B * S] bool names: as many as there are, which a GPU has to be asked for."""
        return RoISamples(*(column[rows] for column in self))

    def only_counted(self) -> RoISamples:
        """The rows that count."""
        return self.only(self.counted)


@torch.no_grad()
def match(boxes: Tensor, gt_boxes: Tensor, valid: Tensor) -> Matches:
    """Match every box with the object that it overlaps most.

    Args:
        boxes: [B, N, 4] xyxy, or [N, 4] for the same boxes in every image.
        gt_boxes: [B, G, 4] xyxy.
        valid: [B, G] bool: which of them are objects.
    """
    size = (len(gt_boxes), boxes.shape[-2])
    best_iou = boxes.new_zeros(size)
    best_object = torch.zeros(size, dtype=torch.int64, device=boxes.device)
    is_best = torch.zeros(size, dtype=torch.bool, device=boxes.device)
    rows = _OVERLAP_ROWS if boxes.device.type == "cpu" else _OVERLAP_ROWS_ON_A_GPU
    objects_a_chunk = max(1, rows // len(gt_boxes))
    for start in range(0, gt_boxes.shape[1], objects_a_chunk):
        chunk = slice(start, start + objects_a_chunk)
        iou = box_ops.iou_matrix(gt_boxes[:, chunk], boxes)  # [B, g, N]
        iou = iou.masked_fill(~valid[:, chunk, None], -1.0)
        chunk_iou, chunk_object = iou.max(dim=1)
        better = chunk_iou > best_iou
        best_iou = torch.where(better, chunk_iou, best_iou)
        best_object = torch.where(better, chunk_object + start, best_object)
        most = iou.amax(dim=2, keepdim=True)  # [B, g, 1]; an object that no box touches has no best box
        is_best |= ((iou == most) & (most > 0)).any(dim=1)
    return Matches(best_iou, best_object, is_best)


def draw(candidates: Tensor, count: int, order: Tensor) -> tuple[Tensor, Tensor]:
    """The first `count` of the candidates of each image.

    Args:
        candidates: [B, N] bool.
        count: of rows, of which N are given at most.
        order: [B, N] int64: of two candidates the one with the lower number comes first (`draws.priorities`).

    Returns:
        Indices [B, min(count, N)] int64, and bool of the same size: those that are candidates; they come first.
    """
    keys = order.masked_fill(~candidates, _NEVER)
    numbers, indices = torch.topk(keys, min(count, keys.shape[1]), dim=1, largest=False)
    return indices, numbers < _NEVER


def sample(
    is_positive: Tensor, is_negative: Tensor, count: int, positive_fraction: float, order: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw at most `count` boxes an image, at most `positive_fraction` of them positive, negatives filling the rest.

    Args:
        is_positive: [B, N] bool.
        is_negative: [B, N] bool.
        count: of samples.
        positive_fraction: of `count`.
        order: [B, N] int64, as for `draw`.

    Returns:
        Indices of positives and which count, indices of negatives and which count: as `draw` has them.
    """
    positives, is_positive = draw(is_positive, int(count * positive_fraction), order)
    negatives, is_negative = draw(is_negative, count, order)
    left = count - is_positive.sum(dim=1, keepdim=True)
    is_negative &= torch.arange(negatives.shape[1], device=order.device) < left
    return positives, is_positive, negatives, is_negative


@torch.no_grad()
def sample_anchors(anchors: Tensor, truth: GroundTruth, spec: SamplingSpec, keys: Tensor) -> AnchorSamples:
    """Choose the anchors that the RPN is trained on.

    An anchor is positive from `rpn_positive_iou` on, or where it is the best of an object (so that every object has
    one); negative below `rpn_negative_iou`; otherwise ignored. Ref: Faster R-CNN, section 3.1.2.

    Args:
        anchors: [N, 4] xyxy canvas px, those that leave the image included.
        truth: of the batch.
        spec: counts and thresholds.
        keys: [B], of the images' anchors; an anchor is drawn by its number, so a wider canvas draws others.
    """
    matches = match(anchors, truth.boxes, truth.valid)
    is_positive = (matches.iou >= spec.rpn_positive_iou) | matches.is_best_of_an_object
    is_negative = (matches.iou < spec.rpn_negative_iou) & ~is_positive
    order = priorities(keys, len(anchors))
    drawn = sample(is_positive, is_negative, spec.rpn_samples, spec.rpn_positive_fraction, order)
    objects = matches.objects.gather(1, drawn[0])
    return AnchorSamples(*drawn, rows_of(truth.boxes, objects))


@torch.no_grad()
def sample_rois(
    proposals: Tensor, num_proposals: Tensor, truth: GroundTruth, num_classes: int, spec: SamplingSpec, keys: Tensor
) -> tuple[RoISamples, RoISamples]:
    """Choose the RoIs that the heads are trained on; the ground-truth boxes are candidates too.

    Args:
        proposals: [B, R, 4] xyxy canvas px.
        num_proposals: [B]; rows past it are ignored.
        truth: of the batch.
        num_classes: K, the label of a negative.
        spec: counts and thresholds.
        keys: [B], of the images' RoIs. A candidate is drawn by its row in `proposals`, or, behind all of them, by the
            number of its object.

    Returns:
        All of them, `roi_samples` rows an image, positives first; and the rows that may hold positives, of which those
        count that do.
    """
    most = proposals.shape[1]
    is_proposal = torch.arange(most, device=proposals.device) < num_proposals[:, None]
    is_candidate = torch.cat([is_proposal, truth.valid], dim=1)
    candidates = torch.cat([proposals, truth.boxes], dim=1)
    matches = match(candidates, truth.boxes, truth.valid)
    is_positive = (matches.iou >= spec.roi_positive_iou) & is_candidate
    order = priorities(keys, candidates.shape[1])
    positives, has_object, negatives, is_negative = sample(
        is_positive, is_candidate & ~is_positive, spec.roi_samples, spec.roi_positive_fraction, order
    )
    # Positives, then negatives, without a gap: the negatives move up to where the positives end.
    slots = torch.arange(negatives.shape[1], device=order.device).expand_as(negatives)
    num_positives = has_object.sum(dim=1, keepdim=True)
    source = slots + torch.where(slots < num_positives, 0, positives.shape[1] - num_positives)
    rows = torch.cat([positives, negatives], dim=1).gather(1, source)
    counted = torch.cat([has_object, is_negative], dim=1).gather(1, source)
    objects = matches.objects.gather(1, rows)
    holds_object = slots < num_positives
    labels = torch.where(holds_object, truth.labels.gather(1, objects), num_classes)
    boxes = rows_of(candidates, rows).masked_fill(~counted[..., None], 0.0)
    images = torch.arange(len(order), device=order.device)[:, None].expand_as(rows)
    return (
        _flat(boxes, images, labels, objects, counted),
        _flat(*(column[:, : positives.shape[1]] for column in (boxes, images, labels, objects, holds_object))),
    )


def rows_of(values: Tensor, rows: Tensor) -> Tensor:
    """Rows [B, n] int64 of values [B, N, 4], each image its own: [B, n, 4]."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[2]))


def _flat(*columns: Tensor) -> RoISamples:
    """One row a RoI from columns [B, S, ...]."""
    return RoISamples(*(column.flatten(0, 1) for column in columns))
