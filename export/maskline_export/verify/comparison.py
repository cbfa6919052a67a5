"""Fills the rows of a line's table: its stages and its answers against the reference's, picture by picture.

Each stage gets the reference's own inputs, so an error shows in the stage that makes it and in no later one; "NMS of
classes" gets the line's own logits, so that it is exact in any precision. The rows from "detections" on compare the
whole lines. A box that only one side has is a near-tie where the reference cannot
decide on it within the line's own error (near_ties), and counts for neither side.

Letters: D detections an image, R proposals an image, N boxes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from maskline_coco.matching import iou_matrix, match_boxes
from maskline_train.evaluation.paste import Rle
from maskline_train.model.mask_rcnn import MaskRCNN
from pycocotools import mask as coco_mask

from maskline_export.verify.compare import pasted_error, with_sides
from maskline_export.verify.lines.found import Answer, Found, Line, Picture
from maskline_export.verify.near_ties.decide import Decided
from maskline_export.verify.near_ties.fates import Fates
from maskline_export.verify.reference import Reference, look
from maskline_export.verify.rows import (
    CELLS,
    MASKS,
    MIN_IOU,
    PASTED,
    SAME_POINT_PX,
    ParityReport,
    features_row,
    make_rows,
)

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]


class Comparison:
    """One line's table; `add` compares one picture more.

    Args:
        model: the checkpoint's, in evaluation mode.
        line: what is compared with it.
    """

    def __init__(self, model: MaskRCNN, line: Line) -> None:
        self.line = line
        self._model = model
        self.rows = make_rows(model.spec, line.precision)
        self._min_iou = MIN_IOU[line.precision]
        self._area_ratios: list[float] = []
        self.num_images = self.num_detections = 0

    def add(self, reference: Reference) -> None:
        """Compare what the line finds in the reference's picture."""
        found = self.line.find(reference.given())
        fates = Fates(self._model, reference, found, self.rows, self._min_iou)
        if found.answer.classes:
            self._add_names(found.answer.classes)
        if found.canvas is not None:
            self.rows["canvas"].add(reference.picture.canvas, found.canvas)
        self._add_backbone(reference, found)
        self._add_boxes(reference, found, fates)
        self._add_heads(reference, found)
        if found.placed is not None:
            self._add_placed(reference, found.placed)
        self._add_answer(reference, found.answer, fates)
        self.num_images += 1

    def report(self) -> ParityReport:
        """The table so far, without what could not be seen."""
        if self._area_ratios:
            bias = np.mean(self._area_ratios) - 1.0
            self.rows["mask area"].max_error = self.rows["mask area"].p99_error = abs(float(bias))
        rows = [row for row in self.rows.values() if row.compared]
        return ParityReport(rows, self.num_images, self.num_detections, self.line.title, self.line.precision)

    def _add_names(self, names: tuple[str, ...]) -> None:
        classes = self._model.spec.classes
        wrong = sum(a != b for a, b in zip(classes, names, strict=False)) + abs(len(classes) - len(names))
        self.rows["class names"].add(np.zeros(1), np.array([wrong]))

    def _add_backbone(self, reference: Reference, found: Found) -> None:
        if found.backbone is None:
            return
        for row, tensors in (
            (features_row(self._model.spec), reference.features),
            ("RPN logits", reference.logits),
            ("RPN deltas", reference.deltas),
        ):
            for name, tensor in tensors.items():
                self.rows[row].add(tensor.numpy(), found.backbone[name])

    def _add_boxes(self, reference: Reference, found: Found, fates: Fates) -> None:
        if found.proposals is not None:
            ours = reference.proposals[0, : int(reference.num_proposals[0])].numpy()
            self._match("proposals", ours, found.proposals, None, fates.proposals, reference.picture)
        for stage, tensor, other in (
            ("box RoI features", reference.box_features, found.box_features),
            ("class logits", reference.class_logits, found.class_logits),
            ("box deltas", reference.box_deltas, found.box_deltas),
        ):
            if other is not None:
                self.rows[stage].add(tensor.numpy(), other)
        if found.boxes is None or found.labels is None or found.scores is None:
            return
        if found.class_logits is not None and found.box_deltas is not None:
            ours, labels = self._decided(reference, found.class_logits, found.box_deltas)
            self._match("NMS of classes", ours, found.boxes, (labels, found.labels), fates.nms, reference.picture)
            return
        count, whole = reference.count, reference.detections
        kinds = whole.labels[0, :count].numpy(), found.labels
        boxes, name = whole.boxes[0, :count].numpy(), "boxes of the box head"
        partner = self._match(name, boxes, found.boxes, kinds, fates.boxes_of_head, reference.picture)
        pairs = np.flatnonzero(partner >= 0)
        self.rows["scores of the box head"].add(whole.scores[0, pairs].numpy(), found.scores[partner[pairs]])

    def _decided(self, reference: Reference, class_logits: Array, box_deltas: Array) -> tuple[Floats, Array]:
        """Boxes [n, 4] and labels [n] that PyTorch's rule makes of the line's own logits and deltas."""
        boxes, _, labels, num = self._model.choose_boxes(
            torch.from_numpy(class_logits.astype(np.float32)),
            torch.from_numpy(box_deltas.astype(np.float32)),
            reference.proposals,
            reference.num_proposals,
            reference.info,
        )
        count = int(num[0])
        return boxes[0, :count].numpy(), labels[0, :count].numpy()

    def _add_heads(self, reference: Reference, found: Found) -> None:
        if found.mask_features is not None and reference.mask_features is not None:
            self.rows["mask RoI features"].add(reference.mask_features.numpy(), found.mask_features)
        if found.masks is not None and reference.detections.masks is not None:
            self.rows["mask probabilities"].add(reference.detections.masks[0].numpy(), found.masks)
        expected = reference.detections.keypoints
        if found.keypoints is not None and expected is not None:
            count, points = reference.count, found.keypoints.astype(np.float32)
            boxes = reference.detections.boxes[0].numpy()
            same = self._add_points("keypoints", boxes[:count], expected[0, :count].numpy(), points[:count])
            scores = expected[0, :count].numpy()[same][:, 2], points[:count][same][:, 2]
            self.rows["keypoint scores"].add(*scores)
            self.rows["keypoints"].add(np.zeros_like(points[count:]), points[count:])  # padding, whatever the precision

    def _add_points(self, stage: str, boxes: Floats, points: Floats, others: Floats) -> npt.NDArray[np.bool_]:
        """Distances of keypoints [N, J, 3] that are the same, and the share of them; which they are, [N, J]."""
        near: Floats | float = SAME_POINT_PX
        if self.line.precision != "fp32":
            near = (CELLS * (boxes[:, 2:] - boxes[:, :2]))[:, None]
        same: npt.NDArray[np.bool_] = (np.abs(others[..., :2] - points[..., :2]) <= near).all(axis=2)
        self.rows[stage].add(points[same][:, :2], others[same][:, :2])
        self.rows[stage].add_match(float(same.mean()) if same.size else 1.0)
        return same

    def _add_placed(self, reference: Reference, placed: Answer) -> None:
        ours = reference.answer
        self.rows["placing"].add(ours.boxes, placed.boxes)
        if ours.keypoints is not None and placed.keypoints is not None:
            self.rows["placing"].add(ours.keypoints, placed.keypoints)
        if placed.masks is not None and len(placed.masks) == reference.count:
            expected = reference.pasted(np.arange(reference.count), self._model.spec.paste)
            errors = [_differing(mask, other) for mask, other in zip(expected, placed.masks, strict=True)]
            self.rows["pasting"].add(np.zeros(len(errors)), np.array(errors))

    def _add_answer(self, reference: Reference, other: Answer, fates: Fates) -> None:
        ours = reference.answer
        labels = ours.labels, other.labels
        partner = self._match("detections", ours.boxes, other.boxes, labels, fates.detections, reference.picture)
        self.num_detections += len(ours.boxes)
        pairs = np.flatnonzero(partner >= 0)
        chosen = partner[pairs]
        self.rows["scores"].add(ours.scores[pairs], other.scores[chosen])
        if ours.keypoints is not None and other.keypoints is not None:
            self._add_points("keypoints, answered", ours.boxes[pairs], ours.keypoints[pairs], other.keypoints[chosen])
        if reference.detections.masks is not None and other.masks is not None:
            self._add_pasted(reference, pairs, [other.masks[index] for index in chosen])

    def _add_pasted(self, reference: Reference, rows: npt.NDArray[np.int64], found: list[Rle]) -> None:
        rule, slack = self._model.spec.paste, MASKS[self.line.precision]
        self.rows["mask area"].add(np.zeros(0), np.zeros(0))
        errors = []
        three = (reference.pasted(rows, rule, more) for more in (0.0, -slack, slack))
        for mask, least, most, other in zip(*three, found, strict=True):
            area, found_area = (int(coco_mask.area(rle)) for rle in (mask, other))
            if area or found_area:
                errors.append(pasted_error(mask, least, most, other))
            if area:
                self._area_ratios.append(found_area / area)
        row = self.rows["masks, pasted"]
        row.add(np.zeros(len(errors)), np.array(errors))
        row.add_match(float((np.array(errors) <= PASTED[self.line.precision]).mean()) if errors else 1.0)

    def _agrees_before(self, stage: str) -> bool:
        """Whether no row before this one deviates; else boxes that only one side has need no further explanation."""
        return all(row.ok for row in itertools.takewhile(lambda row: row.stage != stage, self.rows.values()))

    def _match(
        self,
        stage: str,
        boxes: Floats,
        others: Array,
        labels: tuple[Array, Array] | None,
        fate: Callable[[], tuple[Decided, Floats]],
        picture: Picture,
    ) -> npt.NDArray[np.int64]:
        """Pair boxes [N, 4] with others [G, 4] of the same label; record errors and the share with a partner.

        Returns:
            For each box the index of its partner, or -1.
        """
        row, found = self.rows[stage], others.astype(np.float32)
        if labels is not None and self._model.spec.pixel_boxes:
            boxes, found = with_sides(boxes, labels[0]), with_sides(found, labels[1])
        same = np.ones((len(boxes), len(found)), bool) if labels is None else labels[0][:, None] == labels[1][None]
        partner = match_boxes(boxes, found, same, self._min_iou)
        pairs = np.flatnonzero(partner >= 0)
        row.add(boxes[pairs], found[partner[pairs]])
        real = np.flatnonzero((found[:, 2:] > found[:, :2]).all(axis=1))  # padding has no area
        missing, extra = np.flatnonzero(partner < 0), np.setdiff1d(real, partner[pairs])
        missing = missing[(boxes[missing, 2:] > boxes[missing, :2]).all(axis=1)]
        reasons: tuple[list[str], list[str]] = ([], [])
        if row.min_matched and (len(missing) or len(extra)) and self._agrees_before(stage):
            decided, places = fate()
            kinds = (None, None) if labels is None else (labels[0][missing], labels[1][extra])
            reasons = (
                _near_ties(decided, places, boxes[missing], kinds[0], self._min_iou),
                _near_ties(decided, places, found[extra], kinds[1], self._min_iou),
            )
        expected = max(len(pairs) + len(missing) - len(reasons[0]), len(real) - len(reasons[1]))
        share = len(pairs) / expected if expected else 1.0
        row.add_match(share, [f"{picture.name}: {reason}" for side in reasons for reason in side])
        return partner


def _differing(mask: Rle, other: Rle) -> float:
    """1 - IoU of two masks; 0 of two empty ones."""
    union = int(coco_mask.area(coco_mask.merge([mask, other])))
    return 1 - int(coco_mask.area(coco_mask.merge([mask, other], intersect=True))) / union if union else 0.0


def _near_ties(decided: Decided, places: Floats, boxes: Floats, labels: Array | None, min_iou: float) -> list[str]:
    """What the fate of each of these boxes hangs on, where it is undecided: that of the candidate at its place.

    Args:
        decided: the fates.
        places: the candidates' boxes where `boxes` are: at the size of the canvas, or of the picture.
        boxes: [N, 4] that only one side has.
        labels: [N], where boxes of other labels are others.
        min_iou: of a box and the candidate that it is.
    """
    reasons = []
    for index, overlaps in enumerate(iou_matrix(boxes, places)):
        there = decided.perhaps & (overlaps >= min_iou)
        if labels is not None:
            there &= decided.candidates.groups == labels[index]
        nearest = int(np.argmax(np.where(there, overlaps, -1.0))) if there.any() else None
        if nearest is not None and not decided.kept[nearest]:
            reasons.append(decided.reason(nearest))
    return reasons


def compare(
    model: MaskRCNN, lines: list[Line], pictures: list[Picture], on_picture: Callable[[], None] = lambda: None
) -> list[ParityReport]:
    """Run the model once and each line on every picture; a report a line."""
    comparisons = [Comparison(model.eval(), line) for line in lines]
    for picture in pictures:
        with torch.no_grad():
            reference = look(model, picture)
            for comparison in comparisons:
                comparison.add(reference)
        on_picture()
    return [comparison.report() for comparison in comparisons]
