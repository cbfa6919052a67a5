"""The rows of the parity table: what is compared, how far apart it may be in each precision, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

from maskline_train.spec import ModelSpec

from maskline_export.manifest import Precision
from maskline_export.verify.compare import StageRow

Limits = dict[Precision, float]

# Features and RPN outputs, a share of the largest. fp32: sums of some 2e3 products a convolution, in another order,
# through about 60 layers: seen 1e-6. fp16, bf16: operands and sums of those layers rounded to 11 or 8 bits. int8: one
# scale a tensor leaves 127 levels, of which a typical value fills ten; only a gross mistake (a scale, a sign, a layout)
# is caught here, the rest is for AP.
BACKBONE: Limits = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 8e-2, "int8": 0.6, "int8-cpu": 0.6}
# What a head reads: bilinear weights from coordinates rounded at float32, 2^-14 px at 1333 px. 16 bits: a feature is
# rounded before and its mean after, 2^-11 or 2^-8 each, and coordinates stay float32.
POOLED: Limits = {"fp32": 1e-4, "fp16": 2e-3, "bf16": 1.6e-2, "int8": 2e-3, "int8-cpu": 1e-4}
# What it makes of that, a share of the largest: operands and sums of up to six layers. int8-cpu: 127 levels a tensor.
HEAD: Limits = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 8e-2, "int8": 1e-2, "int8-cpu": 0.3}
# Scores: a softmax moves by at most 1/4 of its logits, which are of the order of 30 at most and agree as above; of
# int8-cpu's logits, which may be off by several units, it makes anything.
SCORES: Limits = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 6e-2, "int8": 1e-2, "int8-cpu": 1.0}
# A partner has the same class and overlaps by so much. int8-cpu: as in the loosest AP.
MIN_IOU: Limits = {"fp32": 0.95, "fp16": 0.95, "bf16": 0.9, "int8": 0.95, "int8-cpu": 0.5}
# Of boxes whose fate the reference is sure of (near_ties) so many must be found, one in a hundred being left for
# errors that were underestimated there from too few boxes; in low precision the errors differ more from box to box.
MATCHED: Limits = {"fp32": 0.99, "fp16": 0.95, "bf16": 0.9, "int8": 0.95, "int8-cpu": 0.9}
# Of whole answers: features in int8 differ by all that BACKBONE leaves, so what of them still agrees is told by AP.
ANSWERED: Limits = {"fp32": 0.99, "fp16": 0.95, "bf16": 0.9, "int8": 0.0, "int8-cpu": 0.0}
# Probabilities: a sigmoid moves by at most 1/4 of what logits of the order of 30 do, which agree as HEAD says.
MASKS: Limits = {"fp32": 1e-3, "fp16": 1.6e-2, "bf16": 0.1, "int8": 1.6e-2, "int8-cpu": 0.5}
# Whole answers: two boxes that are partners may alone differ by 1 - MIN_IOU, and pixels that MASKS leaves open count
# for neither side. float32: every mask; low precision: a share of them, for of a mask of few
# pixels, or with many cells near a half, the error before it moves more. Where features are in int8 AP tells.
PASTED: Limits = {"fp32": 0.05, "fp16": 0.1, "bf16": 0.2, "int8": 1.0, "int8-cpu": 1.0}
# So many masks of an image at least. The row "pasting" judges what pastes; this one whether each box got its own mask.
# Seen 0.9 in fp16 with random weights, whose masks cross a half everywhere.
PASTED_SHARE: Limits = {"fp32": 0.99, "fp16": 0.5, "bf16": 0.5, "int8": 0.0, "int8-cpu": 0.0}
# The mean of (area / area - 1) over all matched masks: errors of both signs, which cancel but for a bias.
AREA: Limits = {"fp32": 0.01, "fp16": 0.02, "bf16": 0.05, "int8": 1.0, "int8-cpu": 1.0}
# Where two cells of a heatmap nearly tie, the error of a logit decides for the other, anywhere in the box: the share
# that this may not happen to.
SAME_POINTS: Limits = {"fp32": 0.99, "fp16": 0.9, "bf16": 0.7, "int8": 0.9, "int8-cpu": 0.5}
# Their scores: a softmax of logits with errors as those of the masks, of which one may be all of the sum.
POINT_SCORES: Limits = {"fp32": 1e-3, "fp16": 3e-2, "bf16": 2e-1, "int8": 3e-2, "int8-cpu": 0.5}
# Scores of whole answers: as SCORES, with the features' errors before them.
ANSWERED_SCORES: Limits = {"fp32": 1e-3, "fp16": 3e-2, "bf16": 0.2, "int8": 1.0, "int8-cpu": 1.0}

# Coordinates are scaled and clipped in float32: two roundings, at up to 20 000 px 2^-10 each.
PLACED_PX = 2e-3
SAME_PROBABILITY = MASKS["fp32"]  # mask probabilities that are no further apart are the same
SAME_POINT_PX = 0.1  # keypoints nearer than this are the same in float32
# In low precision a keypoint is the same within two cells of its heatmap, a 28th of the box.
CELLS = 1 / 28


def features_row(spec: ModelSpec) -> str:
    """The name of the row of what the heads read: P2-P5, or C4, or C5."""
    names = [name.upper() for name in spec.backbone.feature_names]
    return names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}"


def make_rows(spec: ModelSpec, precision: Precision = "fp32") -> dict[str, StageRow]:
    """Empty rows in the order of the line, each with its tolerance."""
    exact = precision == "fp32"
    any_error = float("inf")
    # Boxes of partners: no limit of their own in low precision, whose boxes move with their size; MIN_IOU is theirs.
    # fp32: exp and a product with the anchor's side, up to 1333 px, of deltas as BACKBONE and HEAD say.
    head_px, answer_px = (1e-2, 0.1) if exact else (any_error, any_error)
    point_px = SAME_POINT_PX if exact else any_error
    rows = [
        StageRow("class names", 0.0, "names"),
        # the same bytes come from the same decoder and resizer
        StageRow("canvas", 0.0, "levels"),
        StageRow(features_row(spec), BACKBONE[precision], relative=True),
        StageRow("RPN logits", BACKBONE[precision], relative=True),
        StageRow("RPN deltas", BACKBONE[precision], relative=True),
        # geometry is float32 in every precision, and the RPN outputs are the reference's
        StageRow("proposals", 1e-2, "px", min_matched=MATCHED["fp32"]),
        StageRow("box RoI features", POOLED[precision], relative=True),
        StageRow("class logits", HEAD[precision], relative=True),
        StageRow("box deltas", HEAD[precision], relative=True),
        # PyTorch's rule on the line's own logits and deltas: the arithmetic of boxes is float32 in every precision
        StageRow("NMS of classes", 1e-2, "px", min_matched=MATCHED["fp32"]),
        # where those cannot be seen: what comes of the reference's proposals and features
        StageRow("boxes of the box head", head_px, "px", min_matched=MATCHED[precision]),
        StageRow("scores of the box head", SCORES[precision]),
    ]
    if spec.mask_head:
        rows.append(StageRow("mask RoI features", POOLED[precision], relative=True))
        rows.append(StageRow("mask probabilities", MASKS[precision]))
    if spec.keypoint_head:
        rows.append(StageRow("keypoints", point_px, "px", min_matched=SAME_POINTS[precision]))
        rows.append(StageRow("keypoint scores", POINT_SCORES[precision]))
    # from here on in pixels of the picture: what brings the reference's own detections there
    rows.append(StageRow("placing", PLACED_PX, "px"))
    if spec.mask_head:
        rows.append(StageRow("pasting", 0.0, "1 - IoU"))  # the same rule with the same constants: the same pixels
    rows.append(StageRow("detections", answer_px, "px", min_matched=ANSWERED[precision]))
    rows.append(StageRow("scores", ANSWERED_SCORES[precision]))
    if spec.mask_head:
        pasted = (PASTED[precision], 0.0) if exact else (any_error, PASTED_SHARE[precision])
        rows.append(StageRow("masks, pasted", pasted[0], "1 - IoU", min_matched=pasted[1]))
        rows.append(StageRow("mask area", AREA[precision], "share"))
    if spec.keypoint_head:
        rows.append(StageRow("keypoints, answered", point_px, "px", min_matched=SAME_POINTS[precision]))
    return {row.stage: row for row in rows}


@dataclasses.dataclass
class ParityReport:
    """The rows over all images, and how many images and detections they rest on."""

    rows: list[StageRow]
    num_images: int
    num_detections: int
    title: str = ""
    precision: Precision = "fp32"

    @property
    def first_deviation(self) -> str | None:
        """Name of the first stage that deviates, in the order of the line."""
        return next((row.stage for row in self.rows if not row.ok), None)

    @property
    def near_ties(self) -> int:
        """How many boxes were left out because the reference itself cannot decide on them."""
        return sum(row.near_ties for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; goes into the artifact's `parity.json`."""
        rows = [dataclasses.asdict(row) | {"limit": row.limit, "ok": row.ok} for row in self.rows]
        return {
            "line": self.title,
            "precision": self.precision,
            "images": self.num_images,
            "detections": self.num_detections,
            "first_deviation": self.first_deviation,
            "rows": rows,
        }
