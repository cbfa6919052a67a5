"""The losses, each as a sum and the count that it is averaged over.

Sums and counts stay apart until the end, so that under DistributedDataParallel one reduction of the counts makes the
gradients those of one process on the joint batch. Rows that do not count are computed and left out of the sum, and the
counts stay where the sums are: a GPU is never asked for either.

Letters: B images, L levels, A anchors a cell, Hi Wi level i, N anchors of an image, S sampled RoIs of a batch,
K foreground classes, J keypoints, M mask side.
Ref: paper section 3, L = Lcls + Lbox + Lmask; Fast R-CNN 2.3 for the first two; Faster R-CNN 3.1.2 for the RPN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional

from maskline_train.ground_truth import GroundTruth
from maskline_train.model import boxes as box_ops
from maskline_train.model.anchors import flatten_deltas, flatten_logits
from maskline_train.model.heads.mask_head import mask_channels, masks_of_class
from maskline_train.model.sampling import AnchorSamples, RoISamples, rows_of
from maskline_train.spec import MaskHeadSpec

# Where smooth L1 turns from a parabola into a line, in units of the weighted deltas. Ref: Faster R-CNN's published
# code (sigma = 3) for the RPN; torchvision uses the same for the box head.
SMOOTH_L1_BETA = 1.0 / 9.0


class Term(NamedTuple):
    """A loss before its division: its sum, and the number of things it is a mean over; scalars on one device."""

    total: Tensor
    number: Tensor


def rpn_terms(
    logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Tensor, samples: AnchorSamples
) -> dict[str, Term]:
    """`rpn_objectness` and `rpn_box`, both averaged over all sampled anchors.

    Args:
        logits: L tensors [B, A, Hi, Wi].
        deltas: L tensors [B, 4A, Hi, Wi].
        anchors: [N, 4] xyxy canvas px of all levels, in the order of the flattened levels.
        samples: of the batch.
    """
    flat_logits = torch.cat([flatten_logits(level) for level in logits], dim=1)  # [B, N]
    flat_deltas = torch.cat([flatten_deltas(level) for level in deltas], dim=1)  # [B, N, 4]
    counted = torch.cat([samples.is_positive, samples.is_negative], dim=1)
    sampled_logits = flat_logits.gather(1, torch.cat([samples.positives, samples.negatives], dim=1)).float()
    labels = torch.cat([torch.ones_like(samples.is_positive), torch.zeros_like(samples.is_negative)], dim=1).float()
    predicted = rows_of(flat_deltas, samples.positives).float()
    wanted = box_ops.encode_deltas(samples.gt_boxes, anchors[samples.positives])
    number = counted.sum()
    return {
        "rpn_objectness": Term(_binary_cross_entropy(sampled_logits, labels, counted), number),
        "rpn_box": Term(_smooth_l1(predicted, wanted, samples.is_positive), number),
    }


def box_terms(
    class_logits: Tensor,
    box_deltas: Tensor,
    rois: RoISamples,
    truth: GroundTruth,
    delta_weights: box_ops.DeltaWeights,
) -> dict[str, Term]:
    """`classifier` and `box`, both averaged over all sampled RoIs; only the true class's deltas count.

    Args:
        class_logits: [S, K + 1], background last.
        box_deltas: [S, 4K].
        rois: labels and objects of the S RoIs.
        truth: of the batch.
        delta_weights: of the box head.
    """
    num_classes = class_logits.shape[1] - 1
    is_positive = rois.labels < num_classes
    rows = torch.arange(len(rois.labels), device=rois.labels.device)
    classes = rois.labels.clamp(max=num_classes - 1)  # a negative's is read and not counted
    predicted = box_deltas.reshape(len(box_deltas), num_classes, 4)[rows, classes].float()
    wanted = box_ops.encode_deltas(truth.boxes[rois.images, rois.objects], rois.boxes, delta_weights)
    classifier = functional.cross_entropy(class_logits.float(), rois.labels, reduction="none")
    number = rois.counted.sum()
    return {
        "classifier": Term(_sum(classifier, rois.counted), number),
        "box": Term(_smooth_l1(predicted, wanted, is_positive), number),
    }


def mask_terms(
    mask_logits: Tensor,
    labels: Tensor,
    wanted: Tensor,
    counted: Tensor,
    spec: MaskHeadSpec = MaskHeadSpec(),  # noqa: B008 (frozen)
) -> dict[str, Term]:
    """`mask`: mean cross-entropy over the cells of the positives.

    Sigmoid: binary, over the cells of the true class's masks; no other mask counts. Softmax: multinomial, each cell
    being of the true class or of the background; the other classes' masks then count as well, as wrong answers. A cell
    that an object covers in part counts by its share, in both.

    Args:
        mask_logits: [P, spec.num_channels(K), M, M] of P RoIs.
        labels: [P] int64 in 0..K-1 where a row counts.
        wanted: [P, M, M] float32 in 0..1.
        counted: [P] bool: those that hold an object.
        spec: of the mask head.
    """
    channels = mask_channels(labels.masked_fill(~counted, 0), spec)
    number = counted.sum() * (wanted.shape[1] * wanted.shape[2])
    if spec.activation == "softmax":
        log_probabilities = mask_logits.float().log_softmax(dim=1)
        inside, background = masks_of_class(log_probabilities, channels), log_probabilities[:, -1]
        return {"mask": Term(_sum(-(wanted * inside + (1.0 - wanted) * background), counted), number)}
    predicted = masks_of_class(mask_logits, channels).float()
    return {"mask": Term(_binary_cross_entropy(predicted, wanted, counted), number)}


def keypoint_terms(logits: Tensor, cells: Tensor, counted: Tensor) -> dict[str, Term]:
    """`keypoint`: mean cross-entropy over an M * M-way softmax, a term for each counted keypoint.

    Args:
        logits: [S, J, M, M].
        cells: [S, J] int64, the true cell.
        counted: [S, J] bool; the others change nothing.
    """
    predicted = logits.flatten(2).flatten(0, 1).float()  # [S * J, M * M]
    losses = functional.cross_entropy(predicted, cells.flatten(), reduction="none")
    return {"keypoint": Term(_sum(losses, counted.flatten()), counted.sum())}


def averages(terms: Mapping[str, Term], over_processes: bool) -> dict[str, Tensor]:
    """Each term divided by its count; zero, with a gradient of zero, where the count is zero.

    Args:
        terms: sums and counts of this process.
        over_processes: divide by the mean count over the processes of a distributed run instead, which makes the
            averaged gradient that of the joint batch. Every process must then call this.

    Returns:
        Scalar float32 tensors under the same names.
    """
    counts = torch.stack([term.number for term in terms.values()]).float()
    if over_processes and distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(counts)
        counts /= distributed.get_world_size()
    # Not below a tiny number instead of one: a mean count of half a sample is possible with two processes.
    counts = counts.clamp(min=1e-6)
    return {name: term.total / count for (name, term), count in zip(terms.items(), counts.unbind(), strict=True)}


def _sum(values: Tensor, counted: Tensor) -> Tensor:
    """The sum of values [n, ...] or [B, n, ...] over the rows [n] or [B, n] that count; the others may hold NaN."""
    rows = counted.reshape(*counted.shape, *[1] * (values.dim() - counted.dim()))
    return torch.where(rows, values, 0.0).sum()


def _binary_cross_entropy(logits: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    return _sum(functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none"), counted)


def _smooth_l1(predicted: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    # Without this a row of no meaning would give its NaN to the gradient of the prediction.
    wanted = torch.where(counted[..., None], wanted, 0.0)
    return _sum(functional.smooth_l1_loss(predicted, wanted, reduction="none", beta=SMOOTH_L1_BETA), counted)
