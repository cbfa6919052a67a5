"""Teaches the heads of a network with a random trunk to find drawn objects, in a minute or two on a processor.

Trained weights cannot be had without a download. Random ones answer, but with nothing they are sure of: every score
lies near every threshold, and a rounding in the trunk finds other objects. What is taught here answers as a trained
network does: few doubts, boxes that fit. The trunk stays random; its maps are computed once a picture, and the RPN's
last layers, the box head and the masks' last layer learn from them by torchvision's own losses.

Letters: P positions or sampled boxes, K foreground classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss, maskrcnn_loss
from torchvision.models.detection.rpn import concat_box_prediction_layers

from maskline_bench.drawn import Drawn
from maskline_bench.peers import to_float

NOISE = 0.15  # of a feature's spread, added while the box head learns: it learns to be sure in spite of it
_BATCH = 512  # boxes a step of the box head
_RATES = {"rpn": 5e-3, "box": 2e-4, "mask": 1e-2}  # of Adam
_REPORT_EVERY = 20

Tell = Callable[[str], None]
Targets = list[dict[str, Tensor]]


@dataclasses.dataclass(frozen=True)
class _Seen:
    """A picture after the trunk: on the canvas, with its maps."""

    images: ImageList
    targets: Targets
    features: dict[str, Tensor]


def teach(model: TorchvisionMaskRCNN, pictures: Sequence[Drawn], steps: int, tell: Tell = lambda line: None) -> None:
    """Change the heads in place.

    Args:
        model: in evaluation mode, with a trunk whose norms fit the pictures.
        pictures: what it is to find.
        steps: of each part.
        tell: called with a line of progress.
    """
    torch.manual_seed(0)
    model.requires_grad_(False)
    seen = [_see(model, picture) for picture in pictures]
    _teach_rpn(model, seen, steps, tell)
    _teach_boxes(model, seen, steps, tell)
    _teach_masks(model, seen, steps, tell)
    model.eval()


@torch.no_grad()
def _see(model: TorchvisionMaskRCNN, drawn: Drawn) -> _Seen:
    target = {"boxes": drawn.boxes, "labels": drawn.labels + 1, "masks": drawn.masks}
    images, targets = model.transform([to_float(drawn.picture)], [target])
    return _Seen(images, targets, model.backbone(images.tensors))


def _teach_rpn(model: TorchvisionMaskRCNN, seen: Sequence[_Seen], steps: int, tell: Tell) -> None:
    """The two last layers, over the outcome of the random one before them."""
    rpn, head = model.rpn, model.rpn.head
    with torch.no_grad():
        hidden = [[head.conv(level) for level in picture.features.values()] for picture in seen]
    wanted = []
    for picture, levels in zip(seen, hidden, strict=True):
        anchors = rpn.anchor_generator(picture.images, levels)
        labels, boxes = rpn.assign_targets_to_anchors(anchors, picture.targets)
        wanted.append((labels, rpn.box_coder.encode(boxes, anchors)))

    def loss(step: int) -> Tensor:
        levels, (labels, deltas) = hidden[step % len(seen)], wanted[step % len(seen)]
        logits, found = [head.cls_logits(x) for x in levels], [head.bbox_pred(x) for x in levels]
        return sum(rpn.compute_loss(*concat_box_prediction_layers(logits, found), labels, deltas), torch.zeros(()))

    _learn("rpn", [head.cls_logits, head.bbox_pred], loss, steps, tell)


def _teach_boxes(model: TorchvisionMaskRCNN, seen: Sequence[_Seen], steps: int, tell: Tell) -> None:
    """The box head and its predictors, over the features of sampled proposals."""
    heads = model.roi_heads
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for picture in seen:
            proposals, _ = model.rpn.eval()(picture.images, picture.features)
            boxes, _, labels, deltas = heads.select_training_samples(proposals, picture.targets)
            pooled = heads.box_roi_pool(picture.features, boxes, picture.images.image_sizes)
            rows.append((pooled, labels[0], deltas[0]))
    pooled, labels, deltas = (torch.cat(parts) for parts in zip(*rows, strict=True))
    spread = pooled.std()

    def loss(_: int) -> Tensor:
        chosen = torch.randperm(len(pooled))[:_BATCH]
        x = pooled[chosen]
        logits, found = heads.box_predictor(heads.box_head(x + NOISE * spread * torch.randn_like(x)))
        return sum(fastrcnn_loss(logits, found, [labels[chosen]], [deltas[chosen]]), torch.zeros(()))

    _learn("box", [heads.box_head, heads.box_predictor], loss, steps, tell)


def _teach_masks(model: TorchvisionMaskRCNN, seen: Sequence[_Seen], steps: int, tell: Tell) -> None:
    """The last layer, over the outcome of the random ones before it, in the boxes of the objects."""
    heads, last = model.roi_heads, model.roi_heads.mask_predictor.mask_fcn_logits
    hidden = []
    with torch.no_grad():
        for picture in seen:
            boxes = [picture.targets[0]["boxes"]]
            pooled = heads.mask_head(heads.mask_roi_pool(picture.features, boxes, picture.images.image_sizes))
            hidden.append(heads.mask_predictor.conv5_mask(pooled).relu())

    def loss(step: int) -> Tensor:
        target = seen[step % len(seen)].targets[0]
        everyone = [torch.arange(len(target["boxes"]))]
        logits = last(hidden[step % len(seen)])
        found: Tensor = maskrcnn_loss(logits, [target["boxes"]], [target["masks"]], [target["labels"]], everyone)
        return found

    _learn("mask", [last], loss, steps, tell)


def _learn(name: str, layers: Iterable[nn.Module], loss: Callable[[int], Tensor], steps: int, tell: Tell) -> None:
    """Adam on some layers; they are frozen again afterwards."""
    parameters = [parameter.requires_grad_(True) for layer in layers for parameter in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_RATES[name])
    for step in range(steps):
        optimizer.zero_grad()
        value = loss(step)
        torch.autograd.backward(value)
        optimizer.step()
        if step % _REPORT_EVERY == 0:
            tell(f"teaching the {name} head: step {step} of {steps}, loss {float(value.detach()):.3f}")
    for parameter in parameters:
        parameter.requires_grad_(False)
