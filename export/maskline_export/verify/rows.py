"""The rows of the parity table: what is compared, how far apart it may be, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

from maskline_train.spec import ModelSpec

from maskline_export.verify.compare import StageRow

SAME_PROBABILITY = 1e-3  # mask probabilities that are no further apart are the same
SAME_POINT_PX = 0.1  # keypoints nearer than this are the same; two equal peaks of a heatmap may change places


def features_row(spec: ModelSpec) -> str:
    """The name of the row of what the heads read: P2-P5, or C4, or C5."""
    names = [name.upper() for name in spec.backbone.feature_names]
    return names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}"


def make_rows(spec: ModelSpec) -> dict[str, StageRow]:
    """Empty rows in the order of the line, each with its tolerance and the tolerance's reason."""
    mask_rows = [
        StageRow("mask RoI features", 1e-4, relative=True),
        # a sigmoid moves by at most 1/4 of what logits of the order of 30 do, which agree to 1e-4 of that
        StageRow("mask probabilities", SAME_PROBABILITY),
    ]
    pasted_rows = [
        # boxes a tenth of a pixel apart move the edge; pixels that the row above leaves open count for neither side
        StageRow("masks, pasted", 0.05, "1 - IoU"),
        # bias: mean of (area / area - 1) over all matched masks
        StageRow("mask area", 0.01, "share"),
    ]
    keypoint_rows = [
        StageRow("keypoints", SAME_POINT_PX, "px", min_matched=0.99),
        # a softmax moves by p (1 - p), at most 1/4, of what logits of the order of 30 do, which agree to 1e-4 of that
        StageRow("keypoint scores", 1e-3),
    ]
    rows = [
        # the same bytes come from the same decoder and resizer
        StageRow("canvas", 0.0, "levels"),
        # float32 sums of some 2e3 products a convolution, in another order, through about 60 layers: seen 1e-6
        StageRow(features_row(spec), 1e-4, relative=True),
        StageRow("RPN logits", 1e-4, relative=True),
        StageRow("RPN deltas", 1e-4, relative=True),
        # exp and a product with the anchor's size, up to 1333 px; an IoU at the threshold's edge may fall either way
        StageRow("proposals", 1e-2, "px", min_matched=0.99),
        # bilinear weights from coordinates rounded at float32, 2^-14 px at 1333 px
        StageRow("box RoI features", 1e-4, relative=True),
        StageRow("class logits", 1e-4, relative=True),
        StageRow("box deltas", 1e-4, relative=True),
        # as for proposals; a score at the cut's edge may fall either way
        StageRow("boxes of the box head", 1e-2, "px", min_matched=0.99),
        *(mask_rows if spec.mask_head else []),
        *(keypoint_rows if spec.keypoint_head else []),
        StageRow("detections", 0.1, "px", min_matched=0.99),
        StageRow("scores", 1e-3),
        *(pasted_rows if spec.mask_head else []),
    ]
    return {row.stage: row for row in rows}


@dataclasses.dataclass
class ParityReport:
    """The rows over all images, and how many images and detections they rest on."""

    rows: list[StageRow]
    num_images: int
    num_detections: int

    @property
    def first_deviation(self) -> str | None:
        """Name of the first stage that deviates, in the order of the line."""
        return next((row.stage for row in self.rows if not row.ok), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; goes into the manifest as `parity`."""
        rows = [dataclasses.asdict(row) | {"limit": row.limit, "ok": row.ok} for row in self.rows]
        return {
            "images": self.num_images,
            "detections": self.num_detections,
            "first_deviation": self.first_deviation,
            "rows": rows,
        }
