"""How sure the reference is of each box, given how far off a line is in this picture: margins for decide.py.

Computed where a box has no partner, and only there. An error that can be seen is measured; of what cannot be seen it is
twice the largest of the boxes that have a partner, or what the row's limit allows. None is taken for larger than its
row allows: the row fails by itself then.

Letters: R proposals an image.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from maskline_coco.matching import match_boxes
from maskline_train.evaluation.evaluate import boxes_at_original_size
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.pixel_boxes import corners_of, edges_of
from torch import Tensor

from maskline_export.verify.compare import StageRow
from maskline_export.verify.lines.found import Found
from maskline_export.verify.near_ties.candidates import decided_detections, decided_proposals
from maskline_export.verify.near_ties.decide import Decided
from maskline_export.verify.reference import Reference

Floats = npt.NDArray[np.float32]
Fate = tuple[Decided, Floats]  # and the candidates' boxes where the compared ones are

_ROUNDED_SCORE = 1e-6  # a softmax in float32: an exponential, a sum and a quotient, of up to a hundred classes
_ROUNDED_BOX = 2.0**-22  # of the canvas's side: four roundings of a coordinate in float32


class Fates:
    """Of one picture and one line.

    Args:
        model: the checkpoint's.
        reference: what it finds.
        found: what the line finds.
        rows: of the line, for their tolerances.
        min_iou: of two boxes that are the same.
    """

    def __init__(
        self, model: MaskRCNN, reference: Reference, found: Found, rows: dict[str, StageRow], min_iou: float
    ) -> None:
        self._model, self._reference, self._found, self._rows = model, reference, found, rows
        self._min_iou = min_iou
        self._rounded_px = max(reference.picture.canvas.shape[1:3]) * _ROUNDED_BOX

    def proposals(self) -> Fate:
        """Of the proposals, the RPN outputs being the reference's own."""
        logits, deltas = list(self._reference.logits.values()), list(self._reference.deltas.values())
        decided = decided_proposals(
            self._model.spec, logits, deltas, self._reference.info, 0.0, None, 2 * self._rounded_px
        )
        return decided, decided.candidates.boxes.astype(np.float32)

    def nms(self) -> Fate:
        """Of what the box head finds by the line's own logits and deltas."""
        found, reference, rows = self._found, self._reference, int(self._reference.num_proposals[0])
        assert found.class_logits is not None
        assert found.box_deltas is not None
        decided = decided_detections(
            self._model.spec.box_head,
            torch.from_numpy(found.class_logits[:rows]).float(),
            torch.from_numpy(found.box_deltas[:rows]).float(),
            reference.proposals[0, :rows],
            torch.ones(rows, dtype=torch.bool),
            reference.info,
            _ROUNDED_SCORE,
            None,
            2 * self._rounded_px,
        )
        return decided, decided.candidates.boxes.astype(np.float32)

    def boxes_of_head(self) -> Fate:
        """Of what the box head finds among the reference's proposals."""
        reference = self._reference
        rows = int(reference.num_proposals[0])
        score_error, others, error_px = self._head_errors
        decided = decided_detections(
            self._model.spec.box_head,
            reference.class_logits[:rows],
            reference.box_deltas[:rows],
            reference.proposals[0, :rows],
            torch.ones(rows, dtype=torch.bool),
            reference.info,
            score_error,
            None if others is None else others[:rows],
            error_px,
        )
        return decided, decided.candidates.boxes.astype(np.float32)

    def detections(self) -> Fate:
        """Of what the whole line finds: by proposals of any fate but a certain end, with the errors of answers."""
        reference, model = self._reference, self._model
        logits, deltas = list(reference.logits.values()), list(reference.deltas.values())
        logit_error, others = self._rpn_errors(logits, deltas)
        first = decided_proposals(model.spec, logits, deltas, reference.info, logit_error, others, self._rounded_px)
        boxes = torch.from_numpy(first.candidates.boxes[first.perhaps].astype(np.float32))
        outputs = model.score_boxes(list(reference.features.values()), boxes[None], reference.info)
        score_error, error_px = self._answer_errors()
        decided = decided_detections(
            model.spec.box_head,
            *outputs,
            boxes,
            torch.from_numpy(first.kept[first.perhaps]),
            reference.info,
            max(score_error, self._head_errors[0]),
            None,
            error_px,
        )
        return decided, self._of_picture(torch.from_numpy(decided.candidates.boxes.astype(np.float32)))

    def _of_picture(self, boxes: Tensor) -> Floats:
        """Candidates' boxes [N, 4] in pixels of the picture; edges of boxes of pixels, as they are matched."""
        info, pixels = self._reference.picture.info[0], self._model.spec.pixel_boxes
        if not pixels:
            return boxes_at_original_size(boxes.numpy(), info)
        return edges_of(torch.from_numpy(boxes_at_original_size(corners_of(boxes).numpy(), info))).numpy()

    @functools.cached_property
    def _head_errors(self) -> tuple[float, Tensor | None, float]:
        """How far scores are off, the line's box deltas, and how far boxes are off besides."""
        found, reference = self._found, self._reference
        if found.class_logits is not None and found.box_deltas is not None:
            ours, theirs = reference.class_logits, torch.from_numpy(found.class_logits).float()
            error = float((ours.softmax(dim=1) - theirs.softmax(dim=1)).abs().max())
            return self._allowed(error, "scores of the box head"), torch.from_numpy(found.box_deltas), self._rounded_px
        if found.boxes is None or found.scores is None or found.labels is None:
            return 0.0, None, 0.0
        ours_ = reference.detections
        px, score = _apart(
            (ours_.boxes[0].numpy(), ours_.scores[0].numpy(), ours_.labels[0].numpy()),
            (found.boxes.astype(np.float32), found.scores.astype(np.float32), found.labels),  # type: ignore[arg-type]
            self._min_iou,
        )
        return self._allowed(2 * score, "scores of the box head"), None, 2 * px + self._rounded_px

    def _answer_errors(self) -> tuple[float, float]:
        """How far scores and boxes of whole answers are off, canvas px."""
        ours, theirs = self._reference.answer, self._found.answer
        px, score = _apart(
            (ours.boxes, ours.scores, ours.labels), (theirs.boxes, theirs.scores, theirs.labels), self._min_iou
        )
        scale = float(self._reference.picture.info[0, 2:4].max())
        return self._allowed(2 * score, "scores"), 2 * px * scale + self._rounded_px

    def _rpn_errors(self, logits: Sequence[Tensor], deltas: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
        """How far a logit is off, and the line's deltas, or some that are off by all that their row allows."""
        reference, found = self._reference, self._found.backbone
        if found is None:
            limits = [
                self._rows[row].tolerance * max(float(level.abs().max()) for level in levels)
                for row, levels in (("RPN logits", logits), ("RPN deltas", deltas))
            ]
            return limits[0], [level + limits[1] for level in deltas]
        error = max(
            float(np.abs(tensor.numpy() - found[name].astype(np.float32)).max())
            for name, tensor in reference.logits.items()
        )
        return error, [torch.from_numpy(found[name].astype(np.float32)) for name in reference.deltas]

    def _allowed(self, error: float, row: str) -> float:
        """An error of scores, at most what the row lets pass, at least what is rounded in any case."""
        return max(min(error, self._rows[row].tolerance), _ROUNDED_SCORE)


Objects = tuple[Floats, Floats, npt.NDArray[np.int64]]  # boxes [N, 4], scores [N], labels [N]


def _apart(ours: Objects, theirs: Objects, min_iou: float) -> tuple[float, float]:
    """The largest difference of a coordinate and of a score between objects that both have; 0 where there are none."""
    same_class = ours[2][:, None] == theirs[2][None]
    partner = match_boxes(ours[0], theirs[0], same_class, min_iou)
    pairs = np.flatnonzero(partner >= 0)
    if not len(pairs):
        return 0.0, 0.0
    chosen = partner[pairs]
    px = np.abs(ours[0][pairs] - theirs[0][chosen]).max()
    return float(px), float(np.abs(ours[1][pairs] - theirs[1][chosen]).max())
