"""What Detectron itself finds in a picture, from its rules, on the layers of a network of ours.

Not what an import repeats: pictures are resized as floats, after the mean, to one scale; proposals end with the padded
canvas, are dropped below a pixel of the picture or with a centre beyond it; boxes are decoded, clipped and suppressed
in the original picture. All arithmetic is float64 but for the layers'.

Letters: R proposals, D detections, K foreground classes.
Ref: detectron/utils/blob.py, ops/generate_proposals.py, core/test.py, utils/boxes.py.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from maskline_train.convert.check.answers import Answer
from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.images import Pixels
from maskline_train.model.mask_rcnn import MaskRCNN
from support.models import pixel_boxes as rules
from support.models.pixel_boxes import Array


def _scale(image: Pixels, shorter: int, longer: int) -> float:
    scale = shorter / min(image.shape[:2])
    return longer / max(image.shape[:2]) if np.round(scale * max(image.shape[:2])) > longer else scale


def _canvas(model: MaskRCNN, image: Pixels, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The padded canvas [1, H, W, 3] as floats and its image_info; the mean is off while the picture is resized."""
    mean = np.array(model.spec.preprocessing.mean, np.float32)
    resized = cv2.resize(image.astype(np.float32) - mean, None, None, fx=scale, fy=scale) + mean
    multiple = model.spec.preprocessing.side_multiple
    height, width = (-(-side // multiple) * multiple for side in resized.shape[:2])
    canvas = torch.zeros(1, height, width, 3)
    canvas[0, : resized.shape[0], : resized.shape[1]] = torch.from_numpy(resized)
    info = torch.tensor([[*resized.shape[:2], scale, scale, *image.shape[:2]]], dtype=torch.float32)
    return canvas, info


def _proposals(model: MaskRCNN, features: list[torch.Tensor], padded: tuple[int, int], scale: float) -> Array:
    """Corners [R, 4] on the canvas, best first."""
    spec = model.spec
    logits, deltas = model.rpn_head(features)
    boxes, scores = [], []
    for level, (of_level, moves) in enumerate(zip(logits, deltas, strict=True)):
        found = of_level[0].permute(1, 2, 0).reshape(-1).double().numpy()
        best = np.argsort(-found, kind="stable")[: spec.proposals.pre_nms_per_level]
        moves = moves[0].permute(1, 2, 0).reshape(-1, 4).double().numpy()[best]
        anchors = rules.all_anchors(spec, level, *of_level.shape[2:])[best]
        of_level = rules.clipped(rules.decoded(moves, anchors), padded)
        sides = of_level[:, 2:] - of_level[:, :2] + 1
        centres = of_level[:, :2] + sides / 2
        good = (sides >= scale).all(1) & (centres[:, 0] < padded[1]) & (centres[:, 1] < padded[0])
        kept = rules.suppressed(of_level[good], found[best][good], spec.proposals.nms_thresh)
        kept = kept[: spec.proposals.max_proposals]
        boxes.append(of_level[good][kept])
        scores.append(found[best][good][kept])
    order = np.argsort(-np.concatenate(scores), kind="stable")[: spec.proposals.max_proposals]
    return np.concatenate(boxes)[order]


@torch.no_grad()
def answer(model: MaskRCNN, image: Pixels, same_pixels: bool = False) -> Answer:
    """Corners, scores and labels of one picture.

    Args:
        model: of a spec with `pixel_boxes`.
        image: [h, w, 3] RGB.
        same_pixels: those that our preprocessing makes, in place of Detectron's own.
    """
    spec, preprocessing = model.spec, model.spec.preprocessing
    scale = _scale(image, preprocessing.shorter_side_px, preprocessing.longer_side_px)
    canvas, info = _canvas(model, image, scale)
    if same_pixels:
        canvas, info = (torch.from_numpy(array) for array in preprocess_batch([image], preprocessing))
    features, padded = model.backbone(canvas, info), (canvas.shape[1], canvas.shape[2])
    proposals = _proposals(model, features, padded, scale)
    pooled = rules.pooled(spec, features, proposals, spec.box_head.pooled_side)
    logits, deltas = (output.double() for output in model.box_outputs(pooled.float()))
    scores = logits.softmax(dim=1).numpy()[:, :-1]
    boxes, kept_scores, labels = [], [], []
    for label in range(spec.num_classes):
        rows = np.flatnonzero(scores[:, label] > spec.box_head.score_thresh)
        moves = deltas[rows, 4 * label : 4 * label + 4].numpy()
        of_class = rules.decoded(moves, proposals[rows] / scale, spec.box_head.delta_weights)
        of_class = rules.clipped(of_class, image.shape[:2])
        kept = rules.suppressed(of_class, scores[rows, label], spec.box_head.nms_thresh)
        boxes.append(of_class[kept])
        kept_scores.append(scores[rows, label][kept])
        labels.append(np.full(len(kept), label))
    order = np.argsort(-np.concatenate(kept_scores), kind="stable")[: spec.box_head.max_detections]
    columns = (np.concatenate(column)[order] for column in (boxes, kept_scores, labels))
    found, of_found, classes = columns
    return Answer(found.astype(np.float32), of_found.astype(np.float32), classes.astype(np.int64), None, None)
