"""Test-time augmentation: one image seen at several scales and mirrored, its detections combined.

Boxes: the candidates of all views together, before one class-wise NMS. Masks: the mean of the views' probabilities on
the merged boxes. Keypoints: the mean of their heatmaps (logits) on the merged boxes; a mirrored one has left and right
swapped. The paper does not say how views are combined; this is the union and averaging of its published code.

Letters: H W original image, D detections, J keypoints, M mask side, n candidates of a view.
Ref: paper appendix: "scales of [400, 1200] pixels with a step of 100 and on their horizontal flips" (ledger P46, P68).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from maskline_train.data.canvas import image_info, pad_image, resize_image, rounded_up
from maskline_train.data.images import Pixels
from maskline_train.data.resizing import scaled_size
from maskline_train.model.heads.box_head import image_candidates, suppress
from maskline_train.model.heads.keypoint_head import decode_heatmaps
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from maskline_train.spec import PreprocessingSpec

SCALES = tuple(0.5 + 0.125 * step for step in range(9))  # 400 to 1200 px in steps of 100, where the spec says 800


@dataclasses.dataclass(frozen=True)
class View:
    """How an image is shown to the network.

    Attributes:
        scale: of the spec's shorter and longer side.
        flipped: mirrored left to right.
    """

    scale: float
    flipped: bool


PAPER_VIEWS = tuple(View(scale, flipped) for scale in SCALES for flipped in (False, True))


class _Seen(NamedTuple):
    """A view of an image after the first pass.

    Attributes:
        view: which.
        features: levels of the backbone, a batch of one.
        size: (height, width) of the resized image.
        scale: [4], canvas pixels a pixel of the original image, for x, y, x, y.
        candidates: boxes [n, 4] in pixels of the original image, scores [n], labels [n].
    """

    view: View
    features: list[Tensor]
    size: tuple[int, int]
    scale: Tensor
    candidates: tuple[Tensor, Tensor, Tensor]


@torch.no_grad()
def detect_augmented(model: MaskRCNN, image: Pixels, views: Sequence[View] = PAPER_VIEWS) -> Detections:
    """Find objects in one image. Call `eval()` first.

    The features of all views are kept until the end: 1.8 GB for the paper's views and ResNet-FPN at 800 px.

    Args:
        model: any, on any device.
        image: [H, W, 3] uint8 RGB, of any size.
        views: at least one.

    Returns:
        `Detections` of a batch of one, boxes and keypoints in pixels of the original image.

    Raises:
        ValueError: a model with `pixel_boxes`, whose first and last pixels are others in each view.
    """
    if model.spec.pixel_boxes:
        raise ValueError("many views: got a model with pixel_boxes, expected none; look at one view of an image")
    seen = [_look(model, image, view) for view in views]
    candidates = [torch.cat(column) for column in zip(*(one.candidates for one in seen), strict=True)]
    spec = model.spec.box_head
    boxes, scores, labels = suppress(candidates[0], candidates[1], candidates[2], spec)
    count, room = len(scores), spec.max_detections - len(scores)

    def padded(rows: Tensor, value: float = 0.0) -> Tensor:
        return torch.cat([rows, rows.new_full((room, *rows.shape[1:]), value)])[None]

    masks, keypoints = _mean_masks(model, seen, boxes, labels), _mean_keypoints(model, seen, boxes)
    return Detections(
        padded(boxes),
        padded(scores),
        padded(labels, -1),
        torch.tensor([count], device=boxes.device),
        None if masks is None else padded(masks),
        None if keypoints is None else padded(keypoints),
    )


def _look(model: MaskRCNN, image: Pixels, view: View) -> _Seen:
    """Run the network up to the box branch."""
    device = model.rpn_head.conv.weight.device
    canvas, info = _prepare(image, view, model.spec.preprocessing)
    infos = torch.from_numpy(info)[None].to(device)
    features = model.backbone(torch.from_numpy(canvas)[None].to(device), infos)
    logits, deltas = model.rpn_head(features)
    proposals, counts = model.propose(logits, deltas, infos)
    proposals = proposals[:, : max(1, int(counts[0]))]
    class_logits, box_deltas = model.score_boxes(features, proposals, infos)
    rows = int(counts[0])
    boxes, scores, labels = image_candidates(
        class_logits.float().softmax(dim=1)[:rows, :-1],
        box_deltas.reshape(proposals.shape[1], -1, 4)[:rows],
        proposals[0, :rows],
        infos[0],
        model.spec.box_head,
    )
    size, scale = (int(info[0]), int(info[1])), infos[0, [3, 2, 3, 2]]
    if view.flipped:
        boxes = _mirrored(boxes, size[1])
    return _Seen(view, features, size, scale, (boxes / scale, scores, labels))


def _prepare(image: Pixels, view: View, spec: PreprocessingSpec) -> tuple[Pixels, npt.NDArray[np.float32]]:
    """The canvas [H, W, 3] and image_info [6] of a view; padded to a multiple of `side_multiple` alone."""
    original = image.shape[0], image.shape[1]
    shorter, longer = (round(side * view.scale) for side in (spec.shorter_side_px, spec.longer_side_px))
    size = scaled_size(original, shorter, longer, spec.size_rule)
    pixels = resize_image(image, size, spec)
    if view.flipped:
        pixels = np.ascontiguousarray(pixels[:, ::-1])
    return pad_image(pixels, rounded_up([size], spec.side_multiple)), image_info(size, original)


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    """Boxes [N, 4] of the mirrored picture, of whole `width`; its own inverse."""
    x0, y0, x1, y1 = boxes.unbind(dim=1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=1)


def _in_view(seen: _Seen, boxes: Tensor) -> Tensor:
    """Boxes [N, 4] of the original image in canvas pixels of a view."""
    scaled = boxes * seen.scale
    return _mirrored(scaled, seen.size[1]) if seen.view.flipped else scaled


def _mean_masks(model: MaskRCNN, seen: Sequence[_Seen], boxes: Tensor, labels: Tensor) -> Tensor | None:
    """[D, M, M] probabilities; None without a mask branch."""
    if model.spec.mask_head is None:
        return None
    side = model.spec.mask_head.mask_side
    total = boxes.new_zeros((len(boxes), side, side))
    for one in seen:
        masks = model.detect_masks(one.features, _in_view(one, boxes)[None], labels[None])
        assert masks is not None
        total += masks[0].flip(2) if one.view.flipped else masks[0]
    return total / len(seen)


def _mean_keypoints(model: MaskRCNN, seen: Sequence[_Seen], boxes: Tensor) -> Tensor | None:
    """[D, J, 3] x, y, probability; None without a keypoint branch."""
    spec = model.spec.keypoint_head
    if spec is None:
        return None
    images = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    total = boxes.new_zeros((len(boxes), len(spec.names), spec.heatmap_side, spec.heatmap_side))
    for one in seen:
        heatmaps = model.keypoint_outputs(one.features, _in_view(one, boxes), images)
        total += heatmaps.flip(3)[:, list(spec.flip_order)] if one.view.flipped else heatmaps
    return decode_heatmaps(total / len(seen), boxes, spec.decoding, spec.score)
