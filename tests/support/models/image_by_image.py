"""The losses of a training step in arrays as long as there are samples, image by image and in torchvision's functions.

What the step of fixed size has to give: the same samples, the same sums, the same means.
Ref: paper section 3 and 3.1; Faster R-CNN section 3.1.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from maskline_train.model.anchors import flatten_deltas, flatten_logits, pyramid_anchors
from maskline_train.model.draws import ANCHORS, ROIS, priorities
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import MaskHeadSpec
from maskline_train.target import Target
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import keypoints_to_heatmap
from torchvision.ops import box_iou, roi_align


def losses(
    model: MaskRCNN, canvas: Tensor, image_info: Tensor, targets: Sequence[Target], keys: Tensor
) -> dict[str, Tensor]:
    """What `MaskRCNN.forward` returns of the same arguments, to rounding."""
    features = model.backbone(canvas, image_info)
    logits, deltas = model.rpn_head(features)
    proposals, counts = model.training_proposals(logits, deltas, image_info)
    found = rpn_losses(model, logits, deltas, targets, keys[:, ANCHORS])
    boxes, images, labels, objects = zip(
        *(
            sampled_rois(model, image, proposals[image, :count], proposals.shape[1], targets[image], keys[image, ROIS])
            for image, count in enumerate(counts.tolist())
        ),
        strict=True,
    )
    rois = torch.cat(boxes), torch.cat(images), torch.cat(labels), torch.cat(objects)
    return found | head_losses(model, features, *rois, targets)


def rpn_losses(
    model: MaskRCNN, logits: Sequence[Tensor], deltas: Sequence[Tensor], targets: Sequence[Target], keys: Tensor
) -> dict[str, Tensor]:
    """Both averaged over all anchors that are sampled."""
    spec = model.sampling
    anchors = torch.cat(pyramid_anchors(logits, model.spec.anchors, model.spec.backbone.rpn_levels[0]))
    flat_logits = torch.cat([flatten_logits(level) for level in logits], dim=1)
    flat_deltas = torch.cat([flatten_deltas(level) for level in deltas], dim=1)
    chosen, predicted, wanted, is_object = [], [], [], []
    for image, target in enumerate(targets):
        iou = overlaps(target.boxes, anchors)
        best, objects = iou.max(dim=0)
        of_an_object = ((iou == iou.amax(dim=1, keepdim=True)) & (iou > 0)).any(dim=0)
        positive = (best >= spec.rpn_positive_iou) | of_an_object
        order = priorities(keys[image : image + 1], len(anchors))[0]
        first = drawn(positive, int(spec.rpn_samples * spec.rpn_positive_fraction), order)
        rest = drawn((best < spec.rpn_negative_iou) & ~positive, spec.rpn_samples - len(first), order)
        chosen.append(flat_logits[image, torch.cat([first, rest])])
        is_object += [1.0] * len(first) + [0.0] * len(rest)
        predicted.append(flat_deltas[image, first])
        if len(first):
            wanted.append(encoded(target.boxes[objects[first]], anchors[first], (1.0, 1.0, 1.0, 1.0)))
    count = len(is_object)
    objectness = functional.binary_cross_entropy_with_logits(
        torch.cat(chosen), torch.tensor(is_object), reduction="sum"
    )
    return {"rpn_objectness": objectness / count, "rpn_box": smooth_l1(torch.cat(predicted), wanted) / count}


def sampled_rois(
    model: MaskRCNN, image: int, proposals: Tensor, most: int, target: Target, key: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes, images, labels and objects of the RoIs of one image, positives first."""
    spec, num_classes = model.sampling, model.spec.num_classes
    candidates = torch.cat([proposals, target.boxes])
    numbers = priorities(key[None], most + len(target.boxes))[0]
    order = torch.cat([numbers[: len(proposals)], numbers[most:]])
    best, objects = overlaps(target.boxes, candidates).max(dim=0)
    positive = best >= spec.roi_positive_iou
    first = drawn(positive, int(spec.roi_samples * spec.roi_positive_fraction), order)
    rest = drawn(~positive, spec.roi_samples - len(first), order)
    rows = torch.cat([first, rest])
    labels = torch.full_like(rows, num_classes)
    labels[: len(first)] = target.labels[objects[first]] if len(first) else labels[:0]
    return candidates[rows], torch.full_like(rows, image), labels, objects[rows]


def head_losses(
    model: MaskRCNN,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    labels: Tensor,
    objects: Tensor,
    targets: Sequence[Target],
) -> dict[str, Tensor]:
    """Of the box branch over all RoIs, of the others over the positives."""
    spec, num_classes = model.spec, model.spec.num_classes
    class_logits, deltas = model.box_outputs(model._roi_features(features, boxes, images, spec.box_head.pooled_side))
    found = {"classifier": functional.cross_entropy(class_logits, labels, reduction="sum") / len(labels)}
    rows = torch.nonzero(labels < num_classes)[:, 0]
    boxes, images, labels, objects = boxes[rows], images[rows], labels[rows], objects[rows]
    pairs = list(zip(images.tolist(), objects.tolist(), strict=True))
    predicted = deltas.reshape(len(deltas), num_classes, 4)[rows, labels]
    truth = [targets[image].boxes[index] for image, index in pairs]
    wanted = [encoded(torch.stack(truth), boxes, spec.box_head.delta_weights)] if truth else []
    found["box"] = smooth_l1(predicted, wanted) / len(class_logits)
    if spec.mask_head is not None:
        masks = [targets[image].masks[index] for image, index in pairs]
        found["mask"] = mask_loss(model, features, boxes, images, labels, masks, spec.mask_head)
    if spec.keypoint_head is not None:
        points = [targets[image].keypoints[index] for image, index in pairs]
        found["keypoint"] = keypoint_loss(model, features, boxes, images, points)
    return found


def mask_loss(
    model: MaskRCNN,
    features: Sequence[Tensor],
    boxes: Tensor,
    images: Tensor,
    labels: Tensor,
    masks: Sequence[Tensor],
    spec: MaskHeadSpec,
) -> Tensor:
    """Over the cells of the positives."""
    logits = model.mask_outputs(model._roi_features(features, boxes, images, spec.pooled_side))
    if not masks:
        return logits.sum()
    aligned = model.spec.roi_align.aligned
    wanted = torch.cat(
        [
            roi_align(mask[None, None].float(), [box[None]], spec.mask_side, 1.0, 0, aligned)
            for mask, box in zip(masks, boxes, strict=True)
        ]
    )[:, 0]
    channels = torch.zeros_like(labels) if spec.class_agnostic else labels
    chosen = logits[torch.arange(len(labels)), channels]
    if spec.activation == "sigmoid":
        return functional.binary_cross_entropy_with_logits(chosen, wanted)
    total = logits.logsumexp(dim=1)
    return -(wanted * (chosen - total) + (1 - wanted) * (logits[:, -1] - total)).mean()


def keypoint_loss(
    model: MaskRCNN, features: Sequence[Tensor], boxes: Tensor, images: Tensor, points: Sequence[Tensor]
) -> Tensor:
    """Over the keypoints that lie in their RoIs."""
    spec = model.spec.keypoint_head
    assert spec is not None
    assert model.keypoint_head is not None
    logits = model.keypoint_head(model._roi_features(features, boxes, images, spec.pooled_side)).flatten(2)
    if not points:
        return logits.sum()
    cells, valid = keypoints_to_heatmap(torch.stack(points), boxes, spec.heatmap_side)
    counted = valid.bool()
    return functional.cross_entropy(logits[counted], cells[counted]) if counted.any() else 0.0 * logits.sum()


def overlaps(objects: Tensor, boxes: Tensor) -> Tensor:
    """[G, N], with a row of zeros where there is no object."""
    return box_iou(objects, boxes) if len(objects) else boxes.new_zeros(1, len(boxes))


def drawn(candidates: Tensor, count: int, order: Tensor) -> Tensor:
    """The candidates with the lowest numbers."""
    indices = torch.nonzero(candidates)[:, 0].tolist()
    return torch.tensor(sorted(indices, key=lambda index: int(order[index]))[:count], dtype=torch.int64)


def encoded(truth: Tensor, boxes: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """[n, 4] deltas."""
    return BoxCoder(weights).encode_single(truth, boxes)


def smooth_l1(predicted: Tensor, wanted: Sequence[Tensor]) -> Tensor:
    """Summed, with a kink at 1/9; of nothing, a zero with a gradient of zero."""
    if not wanted:
        return predicted.sum()
    return functional.smooth_l1_loss(predicted, torch.cat(list(wanted)), reduction="sum", beta=1 / 9)
