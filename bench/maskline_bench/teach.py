"""Teaches the heads of a network with a random trunk to find drawn objects, in a minute or two on a processor.

Trained weights cannot be had without a download. Random ones answer, but with nothing they are sure of: every score
lies near every threshold, and a rounding in the trunk finds other objects. What is taught here answers as a trained
network does: few doubts, boxes that fit, one box an object. The trunk stays random; its maps are computed once a
picture. The RPN and the box head learn in the directions in which these vary (subspace.py), the masks' last layer as
it is.

Letters: P positions or sampled boxes, S directions, G objects, K foreground classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import maskrcnn_loss
from torchvision.ops import boxes as box_ops

from maskline_bench.drawn import Drawn
from maskline_bench.peers import to_float
from maskline_bench.subspace import Subspace, fresh_layer, principal_subspace, reset

NOISE = 0.15  # of a feature's spread, added while RPN and box head learn: they learn to be sure in spite of it
_DIRECTIONS = 32  # S
_RPN_BATCH, _RPN_OBJECTS = 1024, 256  # positions a step, and those of them on objects
_RPN_EMPTY = 4000  # positions kept of a picture that lie on no object
# Boxes a step of the box head. Three fifths lie on a part of an object or beside it: what a network that learned too
# little of them calls a second object, so that a rounding decides whether there is one.
_BOX_BATCH, _BOX_OBJECTS, _BOX_NEAR = 512, 128, 307
_OBJECT_IOU, _NEAR_IOU = 0.5, 0.1
# A box that overlaps an object this much learns to move to it, though it is none: NMS drops what scores by mistake.
_MOVED_IOU = 0.3
_MOVE_WEIGHT = 2.0  # of the boxes' loss beside the classes'
_MOVED_COPIES = 12  # of an object's box, beside the RPN's proposals
_SHIFT, _STRETCH = 0.25, 0.4  # their spread: shares of the sides, and of the sides' logarithms
_BOX_BETA = 1 / 9  # of the smooth L1 loss, torchvision's
_PREDICTOR_STD = 0.01  # of weights that have learned nothing: small, so that the first losses are
_RATES = {"rpn": 2e-3, "box": 1e-3, "mask": 1e-2}  # of Adam, at the beginning
_WARMUP = 10  # steps
_LESSONS_A_MASK_STEP = 5  # its one layer learns in fewer
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
        steps: of RPN and box head each; the masks take a fifth.
        tell: called with a line of progress.
    """
    torch.manual_seed(0)
    model.requires_grad_(False)
    seen = []
    for index, picture in enumerate(pictures):
        tell(f"looking at picture {index} of {len(pictures)}")
        seen.append(_see(model, picture))
    space = principal_subspace((level for each in seen for level in each.features.values()), _DIRECTIONS)
    _teach_rpn(model, seen, space, steps, tell)
    _teach_boxes(model, seen, space, steps, tell)
    _teach_masks(model, seen, max(1, steps // _LESSONS_A_MASK_STEP), tell)
    model.eval()


@torch.no_grad()
def _see(model: TorchvisionMaskRCNN, drawn: Drawn) -> _Seen:
    target = {"boxes": drawn.boxes, "labels": drawn.labels + 1, "masks": drawn.masks}
    images, targets = model.transform([to_float(drawn.picture)], [target])
    return _Seen(images, targets, model.backbone(images.tensors))


def _teach_rpn(model: TorchvisionMaskRCNN, seen: Sequence[_Seen], space: Subspace, steps: int, tell: Tell) -> None:
    """All of it, over the 3 x 3 cells around sampled positions."""
    head = model.rpn.head
    conv, anchors_a_cell = head.conv[0][0], head.cls_logits.out_channels
    with torch.no_grad():
        found = [rows for picture in seen for rows in _anchors(model, picture, space)]
        cells, anchors, on_object, deltas = (torch.cat(parts) for parts in zip(*found, strict=True))
    objects, empty = torch.where(on_object == 1)[0], torch.where(on_object == 0)[0]
    first, noise = fresh_layer(cells.shape[1], conv.out_channels), space.noise(NOISE, 9)

    def loss(_: int) -> Tensor:
        chosen = torch.cat([_some(objects, _RPN_OBJECTS), _some(empty, _RPN_BATCH - _RPN_OBJECTS)])
        x, anchor = cells[chosen], anchors[chosen]
        x = first(x + noise * torch.randn_like(x)).relu()
        logits = functional.linear(x, head.cls_logits.weight.flatten(1), head.cls_logits.bias)
        moves = functional.linear(x, head.bbox_pred.weight.flatten(1), head.bbox_pred.bias).view(
            len(x), anchors_a_cell, 4
        )
        rows = torch.arange(_RPN_OBJECTS)
        moved = _move_loss(moves[rows, anchor[:_RPN_OBJECTS]], deltas[chosen[:_RPN_OBJECTS]], _RPN_OBJECTS)
        logits = logits.gather(1, anchor[:, None])[:, 0]
        return functional.binary_cross_entropy_with_logits(logits, on_object[chosen]) + moved

    _learn("rpn", [first, head.cls_logits, head.bbox_pred], loss, steps, tell)
    with torch.no_grad():
        space.fold(first, conv, 9)


def _anchors(
    model: TorchvisionMaskRCNN, picture: _Seen, space: Subspace
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each level: cells [P, S * 9], the anchor in its cell [P], if that is an object [P], deltas to it [P, 4]."""
    rpn, levels = model.rpn, list(picture.features.values())
    anchors = rpn.anchor_generator(picture.images, levels)
    (on_object, *_), boxes = rpn.assign_targets_to_anchors(anchors, picture.targets)
    deltas = rpn.box_coder.encode(boxes, anchors)[0]
    empty = torch.where(on_object == 0)[0]
    kept = torch.cat([torch.where(on_object == 1)[0], empty[torch.randperm(len(empty))[:_RPN_EMPTY]]])
    a_cell, begin = rpn.head.cls_logits.out_channels, 0
    for level in levels:
        cells = level.shape[2] * level.shape[3]
        here = kept[(kept >= begin) & (kept < begin + cells * a_cell)]
        cell, anchor = (here - begin) // a_cell, (here - begin) % a_cell
        y, x = cell // level.shape[3], cell % level.shape[3]
        padded = space.project(functional.pad(level, (1, 1, 1, 1)))[0]  # [S, Hi + 2, Wi + 2]
        around = torch.stack([padded[:, y + dy, x + dx] for dy in range(3) for dx in range(3)], -1)  # [S, P, 9]
        yield around.transpose(0, 1).flatten(1), anchor, on_object[here], deltas[here]
        begin += cells * a_cell


def _teach_boxes(model: TorchvisionMaskRCNN, seen: Sequence[_Seen], space: Subspace, steps: int, tell: Tell) -> None:
    """The box head and its predictors, over the features of proposals and of moved copies of the objects' boxes."""
    head, predictor = model.roi_heads.box_head, model.roi_heads.box_predictor
    with torch.no_grad():
        found = [_boxes(model, picture, space) for picture in seen]
        pooled, overlap, classes, deltas = (torch.cat(parts) for parts in zip(*found, strict=True))
        reset(head.fc7)
        for layer in (predictor.cls_score, predictor.bbox_pred):
            nn.init.normal_(layer.weight, std=_PREDICTOR_STD)
            nn.init.zeros_(layer.bias)
    labels = torch.where(overlap >= _OBJECT_IOU, classes, 0)
    objects, far = torch.where(overlap >= _OBJECT_IOU)[0], torch.where(overlap <= _NEAR_IOU)[0]
    near = torch.where((overlap < _OBJECT_IOU) & (overlap > _NEAR_IOU))[0]
    shares = [(objects, _BOX_OBJECTS), (near, _BOX_NEAR), (far, _BOX_BATCH - _BOX_OBJECTS - _BOX_NEAR)]
    places = pooled.shape[1] // _DIRECTIONS
    first, noise = fresh_layer(pooled.shape[1], head.fc6.out_features), space.noise(NOISE, places)

    def loss(_: int) -> Tensor:
        chosen = torch.cat([_some(rows, count) for rows, count in shares])
        x = pooled[chosen]
        x = first(x + noise * torch.randn_like(x)).relu()
        logits, moves = predictor(head.fc7(x).relu())
        moved = torch.where(overlap[chosen] >= _MOVED_IOU)[0]
        own = moves.view(len(chosen), -1, 4)[moved, classes[chosen[moved]]]
        return functional.cross_entropy(logits, labels[chosen]) + _MOVE_WEIGHT * _move_loss(
            own, deltas[chosen[moved]], len(chosen)
        )

    _learn("box", [first, head.fc7, predictor], loss, steps, tell)
    with torch.no_grad():
        space.fold(first, head.fc6, places)


def _boxes(model: TorchvisionMaskRCNN, picture: _Seen, space: Subspace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features [P, S * 49], IoU with the nearest object [P], its class 1..K [P], the deltas to it [P, 4]."""
    heads, size = model.roi_heads, picture.images.image_sizes[0]
    objects, classes = picture.targets[0]["boxes"], picture.targets[0]["labels"]
    proposals, _ = model.rpn.eval()(picture.images, picture.features)
    boxes = box_ops.clip_boxes_to_image(torch.cat([proposals[0], objects, _moved_copies(objects)]), size)
    boxes = boxes[box_ops.remove_small_boxes(boxes, 2)]
    overlap, nearest = box_ops.box_iou(boxes, objects).max(1)
    pooled = space.project(heads.box_roi_pool(picture.features, [boxes], [size]))
    deltas = heads.box_coder.encode([objects[nearest]], [boxes])[0]
    return pooled.flatten(1), overlap, classes[nearest], deltas


def _moved_copies(objects: Tensor) -> Tensor:
    """Boxes [_MOVED_COPIES * G, 4] xyxy px about objects [G, 4], shifted and stretched at random."""
    copies = objects.repeat(_MOVED_COPIES, 1)
    sides = copies[:, 2:] - copies[:, :2]
    centres = (copies[:, 2:] + copies[:, :2]) / 2 + sides * _SHIFT * torch.randn_like(sides)
    halves = sides * torch.exp(_STRETCH * torch.randn_like(sides)) / 2
    return torch.cat([centres - halves, centres + halves], 1)


def _some(rows: Tensor, count: int) -> Tensor:
    """`count` of these rows at random, some of them twice; none of none."""
    return rows[torch.randint(len(rows), (count,))] if len(rows) else rows


def _move_loss(found: Tensor, wanted: Tensor, total: int) -> Tensor:
    """Of deltas [P, 4], a share of `total` rows."""
    return functional.smooth_l1_loss(found, wanted, beta=_BOX_BETA, reduction="sum") / total


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
    """Adam on some layers, slower towards the end; they are frozen again afterwards."""
    parameters = [parameter.requires_grad_(True) for layer in layers for parameter in layer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_RATES[name])
    for step in range(steps):
        slower = (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.param_groups[0]["lr"] = _RATES[name] * slower * min(1, (step + 1) / _WARMUP)
        optimizer.zero_grad()
        value = loss(step)
        torch.autograd.backward(value)
        optimizer.step()
        if step % _REPORT_EVERY == 0:
            tell(f"teaching the {name} head: step {step} of {steps}, loss {float(value.detach()):.3f}")
    for parameter in parameters:
        parameter.requires_grad_(False)
