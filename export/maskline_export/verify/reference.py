"""What the trained model itself finds in a picture, in PyTorch, step by step: the reference of every line.

Letters: D detections an image, R proposals an image, K foreground classes, M mask side.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from maskline_train.evaluation.evaluate import boxes_at_original_size, keypoints_at_original_size
from maskline_train.evaluation.paste import Rle, encode_masks
from maskline_train.model.mask_rcnn import Detections, MaskRCNN
from maskline_train.model.pixel_boxes import deltas_for_detections, edges_of
from maskline_train.spec import PasteRule
from torch import Tensor

from maskline_export.onnx_stages import stage_io
from maskline_export.verify.lines.found import Answer, Given, Picture
from maskline_export.verify.onnx_runtime import Tensors


@dataclasses.dataclass(frozen=True)
class Reference:
    """Everything between the stages of one picture.

    Attributes:
        picture: the image.
        features: what the heads read, by name.
        logits: RPN logits by name.
        deltas: RPN deltas by name.
        proposals: [1, R, 4], of which `num_proposals` [1] count.
        num_proposals: see there.
        box_features: [R, C, P, P].
        class_logits: [R, K + 1].
        box_deltas: [R, 4K], as ClasswiseNMS gets them.
        detections: of the whole model, canvas px.
        mask_features: RoI features of the detections; None without a mask branch.
        answer: the detections in pixels of the picture; their masks are pasted by `pasted`, where they are compared.
    """

    picture: Picture
    features: dict[str, Tensor]
    logits: dict[str, Tensor]
    deltas: dict[str, Tensor]
    proposals: Tensor
    num_proposals: Tensor
    box_features: Tensor
    class_logits: Tensor
    box_deltas: Tensor
    detections: Detections
    mask_features: Tensor | None
    answer: Answer

    @property
    def count(self) -> int:
        """How many detections there are."""
        return int(self.detections.num_detections[0])

    @property
    def info(self) -> Tensor:
        """image_info [1, 6]."""
        return torch.from_numpy(self.picture.info)

    def given(self) -> Given:
        """What the stages of a line are given."""
        features = _arrays(self.features)
        first: Tensors = {"canvas": self.picture.canvas, "image_info": self.picture.info}
        found = self.detections
        return Given(
            self.picture,
            first,
            first | features | _arrays(self.logits) | _arrays(self.deltas),
            self.proposals.numpy(),
            self.num_proposals.numpy().astype(np.int32),
            first | features | {"boxes": found.boxes.numpy(), "labels": found.labels.numpy().astype(np.int32)},
            self._detections() | {"image_info": self.picture.info},
        )

    def _detections(self) -> Tensors:
        """By their names and in their types on the wire."""
        found = {name: tensor.numpy() for name, tensor in self.detections._asdict().items() if tensor is not None}
        return found | {
            "labels": found["labels"].astype(np.int32),
            "num_detections": found["num_detections"].astype(np.int32)[:, None],
        }

    def pasted(self, rows: npt.NDArray[np.int64], rule: PasteRule, more: float = 0.0) -> Iterator[Rle]:
        """The masks of some detections at the picture's size, their probabilities raised by `more`."""
        assert self.detections.masks is not None
        masks = self.detections.masks[0, rows].numpy() + np.float32(more)
        return encode_masks(masks, self.answer.boxes[rows], self.picture.size, rule)


@torch.no_grad()
def look(model: MaskRCNN, picture: Picture) -> Reference:
    """Run the model on a picture; it must be in evaluation mode."""
    spec = model.spec
    canvas, info = torch.from_numpy(picture.canvas), torch.from_numpy(picture.info)
    features = model.backbone(canvas, info)
    logits, deltas = model.rpn_head(features)
    proposals, num = model.propose(logits, deltas, info)
    pooled = model.pool_boxes(features, proposals, spec.box_head.pooled_side)
    class_logits, box_deltas = model.box_outputs(pooled)
    box_deltas = deltas_for_detections(box_deltas, proposals, info, spec)
    boxes, scores, labels, count = model.choose_boxes(class_logits, box_deltas, proposals, num, info)
    found = Detections(
        boxes,
        scores,
        labels,
        count,
        model.detect_masks(features, boxes, labels),
        model.detect_keypoints(features, boxes, labels),
    )
    mask_features = None
    if spec.mask_head is not None:
        inner = edges_of(boxes) if spec.pixel_boxes else boxes
        mask_features = model.pool_boxes(features, inner, spec.mask_head.pooled_side)
    rpn = [tensor.name for tensor in stage_io.rpn_outputs(spec)]
    return Reference(
        picture,
        dict(zip(spec.backbone.feature_names, features, strict=False)),  # the RPN may read a level more
        dict(zip(rpn[: len(rpn) // 2], logits, strict=True)),
        dict(zip(rpn[len(rpn) // 2 :], deltas, strict=True)),
        proposals,
        num,
        pooled,
        class_logits,
        box_deltas,
        found,
        mask_features,
        _answer(found, picture),
    )


def _answer(found: Detections, picture: Picture) -> Answer:
    count, info = int(found.num_detections[0]), picture.info[0]
    points = found.keypoints
    return Answer(
        boxes_at_original_size(found.boxes[0, :count].numpy(), info),
        found.scores[0, :count].numpy(),
        found.labels[0, :count].numpy(),
        None,
        None if points is None else keypoints_at_original_size(points[0, :count].numpy(), info),
    )


def _arrays(tensors: dict[str, Tensor]) -> Tensors:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
