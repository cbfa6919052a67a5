"""What the reference decides among: the candidates of both NMS steps, those that only an error makes one included.

Letters: B = 1 image, L levels, R proposals, K foreground classes, N candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from maskline_train.model import boxes as box_ops
from maskline_train.model.anchors import flatten_deltas, flatten_logits, pyramid_anchors
from maskline_train.model.pixel_boxes import anchors_of_op, deltas_for_proposals
from maskline_train.spec import BoxHeadSpec, ModelSpec
from torch import Tensor

from maskline_export.verify.near_ties.decide import Candidates, Decided, Rule, decide


def decided_proposals(
    spec: ModelSpec,
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    info: Tensor,
    logit_error: float,
    others: Sequence[Tensor] | None,
    error_px: float,
) -> Decided:
    """The fate of every proposal.

    Args:
        spec: of the model.
        logits: L tensors [1, A, Hi, Wi] of the reference.
        deltas: L tensors [1, 4A, Hi, Wi] of it.
        info: [1, 6].
        logit_error: how far a logit may be off.
        others: the other side's deltas, which say how far each box is off; None: `error_px` alone does.
        error_px: how far each box is off by its decoding.
    """
    counts = spec.proposals
    deltas = deltas_for_proposals(logits, deltas, info, spec)
    others = None if others is None else deltas_for_proposals(logits, others, info, spec)
    levels = pyramid_anchors(logits, anchors_of_op(spec), spec.backbone.rpn_levels[0])
    parts = []
    for level, anchors in enumerate(levels):
        scores = flatten_logits(logits[level]).float()[0]
        ordered = torch.sort(scores, descending=True).values
        least = ordered[min(counts.pre_nms_per_level, len(ordered)) - 1] - 2 * logit_error
        chosen = torch.nonzero(scores >= least)[:, 0]
        scores = scores[chosen]
        as_good = (scores[None] >= scores[:, None] - 2 * logit_error).sum(dim=1)
        sure = as_good <= counts.pre_nms_per_level
        boxes = _decoded(flatten_deltas(deltas[level])[0, chosen], anchors[chosen], info)
        error = torch.full_like(scores, error_px)
        if others is not None:
            moved = _decoded(flatten_deltas(others[level])[0, chosen], anchors[chosen], info)
            error = error + (moved - boxes).abs().amax(dim=1)
        objectness, slack = scores.double().sigmoid(), logit_error / 4 + 1e-7  # a sigmoid's slope, float32's rounding
        sure &= (objectness - slack >= counts.score_thresh) | (counts.score_thresh == 0)
        perhaps = objectness + slack >= counts.score_thresh
        groups = torch.full_like(chosen, level)
        parts.append(_sized(boxes, scores, groups, sure, perhaps, error, counts.min_side_px))
    return decide(_joined(parts), Rule(counts.nms_thresh, counts.max_proposals), logit_error)


def decided_detections(
    spec: BoxHeadSpec,
    class_logits: Tensor,
    box_deltas: Tensor,
    proposals: Tensor,
    sure_proposals: Tensor,
    info: Tensor,
    score_error: float,
    others: Tensor | None,
    error_px: float,
) -> Decided:
    """The fate of every class of every proposal.

    Args:
        spec: thresholds and counts.
        class_logits: [R, K + 1] of the reference.
        box_deltas: [R, 4K] of it, as ClasswiseNMS gets them.
        proposals: [R, 4].
        sure_proposals: [R] whether it is one whatever is rounded.
        info: [1, 6].
        score_error: how far a score may be off.
        others: the other side's box deltas [R, 4K]; None: `error_px` alone says how far a box is off.
        error_px: how far each box is off besides.
    """
    scores = class_logits.float().softmax(dim=1)[:, :-1]
    rows, labels = torch.nonzero(scores > spec.score_thresh - score_error, as_tuple=True)
    found = scores[rows, labels]
    sure = sure_proposals[rows] & (found > spec.score_thresh + score_error)

    def decoded(deltas: Tensor) -> Tensor:
        return _decoded(deltas.reshape(len(proposals), -1, 4)[rows, labels], proposals[rows], info, spec.delta_weights)

    boxes = decoded(box_deltas)
    error = torch.full_like(found, error_px)
    if others is not None:
        error = error + (decoded(others) - boxes).abs().amax(dim=1)
    part = _sized(boxes, found, labels, sure, torch.ones_like(sure), error, spec.min_side_px)
    rule = Rule(spec.nms_thresh, spec.max_detections, spec.score_thresh)
    return decide(_joined([part]), rule, score_error)


def _decoded(
    deltas: Tensor, anchors: Tensor, info: Tensor, weights: box_ops.DeltaWeights = box_ops.UNIT_WEIGHTS
) -> Tensor:
    return box_ops.clip_to_image(box_ops.decode_deltas(deltas, anchors, weights), info[0])


def _sized(
    boxes: Tensor, scores: Tensor, groups: Tensor, sure: Tensor, perhaps: Tensor, error: Tensor, least: float
) -> tuple[Tensor, ...]:
    """Boxes, scores, groups, `sure`, errors of those that are candidates perhaps, sides being at least `least`."""
    side = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)
    perhaps = perhaps & (side + 2 * error >= least)
    sure = sure & (side - 2 * error >= least)
    return tuple(column[perhaps] for column in (boxes, scores, groups, sure, error))


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> Candidates:
    """The candidates of all levels."""
    boxes, scores, groups, sure, error = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return Candidates(boxes.astype(np.float64), scores.astype(np.float64), groups, sure, error.astype(np.float64))
