"""Engines against the float32 artifact they were built of, stage by stage, with errors and limits of each precision.

Each stage gets the reference's inputs, so an error shows in the stage that makes it. The other side may be TensorRT
(run_engine.py) or typed stages in ONNX Runtime: whatever takes a stage's name and inputs and gives its outputs.

Letters: D detections an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from maskline_coco.matching import match_boxes

from maskline_export.manifest import Precision
from maskline_export.precision.low_types import is_feature
from maskline_export.verify.compare import StageRow, with_sides
from maskline_export.verify.rows import BACKBONE, CELLS, MASKS, MATCHED, MIN_IOU, POINT_SCORES, SAME_POINTS, SCORES

Tensors = dict[str, npt.NDArray[np.generic]]
RunStage = Callable[[str, Tensors], Tensors]

# The limits of rows.py, but for float32's masks: two levels of 255, from when masks were bytes; no engine was measured.
_MASKS = {**MASKS, "fp32": 8e-3}


def make_rows(stages: Sequence[str], precision: Precision) -> dict[str, StageRow]:
    """Empty rows of these stages in the order of the line, with the limits of this precision."""
    backbone = BACKBONE[precision]
    rows = [
        StageRow("features", backbone, relative=True),
        StageRow("RPN logits", backbone, relative=True),
        StageRow("RPN deltas", backbone, relative=True),
        StageRow("detections", float("inf"), "px", min_matched=MATCHED[precision]),
        StageRow("scores", SCORES[precision]),
    ]
    if "mask" in stages:
        rows.append(StageRow("mask probabilities", _MASKS[precision]))
    if "keypoint" in stages:
        rows.append(StageRow("keypoints", float("inf"), "px", min_matched=SAME_POINTS[precision]))
        rows.append(StageRow("keypoint probabilities", POINT_SCORES[precision]))
    return {row.stage: row for row in rows}


def compare_engines(
    stages: Sequence[str],
    reference: RunStage,
    engines: RunStage,
    batches: Iterable[Tensors],
    precision: Precision,
    pixel_boxes: bool = False,
) -> list[StageRow]:
    """Run both sides on each batch and fill the rows.

    Args:
        stages: names of the artifact's stages, in the order of the line.
        reference: stages of the fp32 artifact.
        engines: the same stages as built, with the same outputs; takes float32 features and rounds them itself.
        batches: `canvas` and `image_info` each.
        precision: decides the limits.
        pixel_boxes: of the model's spec.

    Raises:
        KeyError: an engine lacks an output.
    """
    rows = make_rows(stages, precision)
    for batch in batches:
        tensors = dict(batch)
        for stage in stages:
            expected, found = reference(stage, tensors), engines(stage, tensors)
            here, there = tensors | expected, {name: found[name] for name in expected}
            if pixel_boxes:
                here, there = _with_sides(here), _with_sides(there)
            _COMPARE[stage](rows, here, there, precision)
            tensors |= expected
    return list(rows.values())


def _with_sides(tensors: Tensors) -> Tensors:
    """The same with edges in place of first and last pixels, where there are boxes."""
    return tensors | {"boxes": with_sides(tensors["boxes"], tensors["labels"])} if "boxes" in tensors else tensors


def _compare_backbone(rows: dict[str, StageRow], expected: Tensors, found: Tensors, precision: Precision) -> None:
    for name in found:
        array = expected[name]
        row = "features" if is_feature(name) else "RPN logits" if name.startswith("rpn_logits") else "RPN deltas"
        rows[row].add(array, found[name])


def _compare_proposal(rows: dict[str, StageRow], expected: Tensors, found: Tensors, precision: Precision) -> None:
    """Match each image's detections by place and class; order may differ where scores nearly tie."""
    for image in range(len(expected["boxes"])):
        counts = [int(side["num_detections"][image, 0]) for side in (expected, found)]
        boxes, labels, scores = (
            [side[name][image, :count] for side, count in zip((expected, found), counts, strict=True)]
            for name in ("boxes", "labels", "scores")
        )
        same_class = labels[0][:, None] == labels[1][None]
        partner = match_boxes(boxes[0].astype(np.float32), boxes[1].astype(np.float32), same_class, MIN_IOU[precision])
        matched = partner >= 0
        rows["detections"].add(boxes[0][matched], boxes[1][partner[matched]])
        rows["scores"].add(scores[0][matched], scores[1][partner[matched]])
        rows["detections"].add_match(float(matched.sum()) / max(*counts, 1) if max(counts) else 1.0)


def _compare_mask(rows: dict[str, StageRow], expected: Tensors, found: Tensors, precision: Precision) -> None:
    rows["mask probabilities"].add(expected["masks"], found["masks"])


def _compare_keypoint(rows: dict[str, StageRow], expected: Tensors, found: Tensors, precision: Precision) -> None:
    """Distances of the keypoints that are the same, the share of them, their probabilities; padding is zero."""
    for boxes, labels, points, others in zip(
        expected["boxes"], expected["labels"], expected["keypoints"], found["keypoints"], strict=True
    ):
        real = labels >= 0
        sides = (boxes[real, 2:] - boxes[real, :2])[:, None]
        here, there = points[real][..., :2], others[real][..., :2]
        same = (np.abs(there - here) <= CELLS * sides).all(axis=2)
        rows["keypoints"].add(here[same], there[same])
        rows["keypoints"].add(points[~real], others[~real])
        rows["keypoint probabilities"].add(points[real][same][..., 2], others[real][same][..., 2])
        padded = float(not others[~real].any())  # whatever the precision
        rows["keypoints"].add_match(padded * float(same.mean()) if same.size else padded)


# What each stage gave, `found`, against `expected`: every tensor of the reference so far.
_COMPARE = {
    "backbone": _compare_backbone,
    "proposal": _compare_proposal,
    "mask": _compare_mask,
    "keypoint": _compare_keypoint,
}
