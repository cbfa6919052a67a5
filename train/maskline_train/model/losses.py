"""The losses, each as a sum and the count that it is averaged over.

Sums and counts stay apart until the end, so that under DistributedDataParallel one reduction of the counts makes the
gradients those of one process on the joint batch.

Letters: B images, L levels, A anchors a cell, Hi Wi level i, N anchors of an image, S sampled RoIs of a batch,
K foreground classes, M mask side.
Ref: paper section 3, L = Lcls + Lbox + Lmask; Fast R-CNN 2.3 for the first two; Faster R-CNN 3.1.2 for the RPN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn import functional

from maskline_train.model import boxes as box_ops
from maskline_train.model.heads.mask_head import mask_channels, masks_of_class
from maskline_train.model.rpn import flatten_deltas, flatten_logits
from maskline_train.model.targets import AnchorSamples, RoISamples
from maskline_train.spec import MaskHeadSpec
from maskline_train.target import Target

# Where smooth L1 turns from a parabola into a line, in units of the weighted deltas. Ref: Faster R-CNN's published
# code (sigma = 3) for the RPN; torchvision uses the same for the box head.
SMOOTH_L1_BETA = 1.0 / 9.0


class Term(NamedTuple):
    """A loss before its division: a scalar sum, and the number of things it is a mean over."""

    total: Tensor
    number: int


def rpn_terms(
    logits: Sequence[Tensor], deltas: Sequence[Tensor], anchors: Tensor, samples: Sequence[AnchorSamples]
) -> dict[str, Term]:
    """`rpn_objectness` and `rpn_box`, both averaged over all sampled anchors.

    Args:
        logits: L tensors [B, A, Hi, Wi].
        deltas: L tensors [B, 4A, Hi, Wi].
        anchors: [N, 4] xyxy canvas px of all levels, in the order of the flattened levels.
        samples: one an image.
    """
    flat_logits = torch.cat([flatten_logits(level) for level in logits], dim=1)  # [B, N]
    flat_deltas = torch.cat([flatten_deltas(level) for level in deltas], dim=1)  # [B, N, 4]
    positives = torch.cat([sampled.positives for sampled in samples])
    negatives = torch.cat([sampled.negatives for sampled in samples])
    images = torch.cat(
        [
            _image_index([sampled.positives for sampled in samples]),
            _image_index([sampled.negatives for sampled in samples]),
        ]
    )
    sampled_logits = flat_logits[images, torch.cat([positives, negatives])].float()
    labels = torch.zeros_like(sampled_logits)
    labels[: len(positives)] = 1.0
    predicted = flat_deltas[images[: len(positives)], positives].float()
    wanted = box_ops.encode_deltas(torch.cat([sampled.gt_boxes for sampled in samples]), anchors[positives])
    count = len(sampled_logits)
    return {
        "rpn_objectness": Term(_binary_cross_entropy(sampled_logits, labels), count),
        "rpn_box": Term(_smooth_l1(predicted, wanted), count),
    }


def box_terms(
    class_logits: Tensor,
    box_deltas: Tensor,
    rois: RoISamples,
    targets: Sequence[Target],
    delta_weights: box_ops.DeltaWeights,
) -> dict[str, Term]:
    """`classifier` and `box`, both averaged over all sampled RoIs; only the true class's deltas count.

    Args:
        class_logits: [S, K + 1], background last.
        box_deltas: [S, 4K].
        rois: labels and objects of the S RoIs.
        targets: one an image.
        delta_weights: of the box head.
    """
    num_classes = class_logits.shape[1] - 1
    rows = torch.nonzero(rois.labels < num_classes)[:, 0]
    positives = rois.positives(num_classes)
    predicted = box_deltas.reshape(len(box_deltas), num_classes, 4)[rows, positives.labels].float()
    gt_boxes = torch.cat(
        [target.boxes[positives.objects[positives.images == image]] for image, target in enumerate(targets)]
    )
    wanted = box_ops.encode_deltas(gt_boxes, positives.boxes, delta_weights)
    classifier = functional.cross_entropy(class_logits.float(), rois.labels, reduction="sum")
    count = len(rois.labels)
    return {"classifier": Term(classifier, count), "box": Term(_smooth_l1(predicted, wanted), count)}


def mask_terms(
    mask_logits: Tensor,
    labels: Tensor,
    wanted: Tensor,
    spec: MaskHeadSpec = MaskHeadSpec(),  # noqa: B008 (frozen)
) -> dict[str, Term]:
    """`mask`: mean cross-entropy over the cells of the positives.

    Sigmoid: binary, over the cells of the true class's masks; no other mask counts. Softmax: multinomial, each cell
    being of the true class or of the background; the other classes' masks then count as well, as wrong answers. A cell
    that an object covers in part counts by its share, in both.

    Args:
        mask_logits: [P, spec.num_channels(K), M, M] of the P positive RoIs.
        labels: [P] int64 in 0..K-1.
        wanted: [P, M, M] float32 in 0..1.
        spec: of the mask head.
    """
    channels = mask_channels(labels, spec)
    if spec.activation == "softmax":
        log_probabilities = mask_logits.float().log_softmax(dim=1)
        inside, background = masks_of_class(log_probabilities, channels), log_probabilities[:, -1]
        return {"mask": Term(-(wanted * inside + (1.0 - wanted) * background).sum(), wanted.numel())}
    predicted = masks_of_class(mask_logits, channels).float()
    return {"mask": Term(_binary_cross_entropy(predicted, wanted), wanted.numel())}


def keypoint_terms(logits: Tensor, cells: Tensor, counted: Tensor) -> dict[str, Term]:
    """`keypoint`: mean cross-entropy over an M * M-way softmax, a term for each counted keypoint.

    Args:
        logits: [S, J, M, M].
        cells: [S, J] int64, the true cell.
        counted: [S, J] bool; the others change nothing.
    """
    predicted = logits.flatten(2)[counted].float()  # [counted, M * M]
    loss = functional.cross_entropy(predicted, cells[counted], reduction="sum")
    return {"keypoint": Term(loss, len(predicted))}


def averages(terms: Mapping[str, Term], over_processes: bool) -> dict[str, Tensor]:
    """Each term divided by its count; zero, with a gradient of zero, where the count is zero.

    Args:
        terms: sums and counts of this process.
        over_processes: divide by the mean count over the processes of a distributed run instead, which makes the
            averaged gradient that of the joint batch. Every process must then call this.

    Returns:
        Scalar float32 tensors under the same names.
    """
    first = next(iter(terms.values())).total
    counts = torch.tensor([float(term.number) for term in terms.values()], device=first.device)
    if over_processes and distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(counts)
        counts /= distributed.get_world_size()
    # Not below a tiny number instead of one: a mean count of half a sample is possible with two processes.
    counts = counts.clamp(min=1e-6)
    return {name: term.total / count for (name, term), count in zip(terms.items(), counts, strict=True)}


def _image_index(indices: Sequence[Tensor]) -> Tensor:
    """The number of its image for each of the concatenated per-image indices."""
    return torch.cat([torch.full_like(index, image) for image, index in enumerate(indices)])


def _binary_cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


def _smooth_l1(predicted: Tensor, wanted: Tensor) -> Tensor:
    return functional.smooth_l1_loss(predicted, wanted, reduction="sum", beta=SMOOTH_L1_BETA)
