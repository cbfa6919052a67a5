"""Anchors and what the region proposal network makes of them. Letters: A anchors a cell, R proposals an image."""

from __future__ import annotations

import dataclasses

from maskline_train.spec.from_json import check

Cell = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class AnchorSpec:
    """Anchors of the region proposal network. Ref: paper 3.1, 5 scales x 3 ratios.

    The sizes are dealt out over the levels, finest first, the same number each: one a level on P2 to P6, all of them
    on the single level of C4 or C5. Anchors of a cell are ordered by size, then by ratio. Where `cells_px` lists the
    anchors themselves, in that order, sizes, ratios, rounding and offset say nothing.
    """

    sizes_px: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # height / width
    rounded: bool = False  # True: corner offsets rounded to whole pixels, as torchvision does
    centre_offset: float = 0.0  # in strides: 0 puts anchor centres on cell corners (torchvision, detectron2)
    # True: anchors of a level are `canvas // cells` px apart, as those of `AnchorGenerator` in
    # torchvision/models/detection/anchor_utils.py. On P2 to P5 this is the stride of the level; on P6 of a canvas that
    # 64 does not divide it is less, 61 on one of 800 px.
    stride_of_cells: bool = False
    # The anchors of a cell, a tuple for each level, finest first: x0 y0 x1 y1 px from the cell's upper left corner, x1
    # and y1 being the last pixels. Of `ModelSpec.pixel_boxes` alone. Ref: `generate_anchors` of Detectron's
    # modeling/generate_anchors.py, whose sides no size and ratio describe: they are rounded at the size of a stride.
    cells_px: tuple[tuple[Cell, ...], ...] | None = None

    def __post_init__(self) -> None:
        good = len(self.sizes_px) > 0 and min(self.sizes_px) > 0
        check(good, "anchors.sizes_px", self.sizes_px, "one or more sizes above 0")
        good = len(self.aspect_ratios) > 0 and min(self.aspect_ratios) > 0
        check(good, "anchors.aspect_ratios", self.aspect_ratios, "one or more numbers above 0")
        check(0 <= self.centre_offset <= 1, "anchors.centre_offset", self.centre_offset, "0 to 1")
        if self.cells_px is not None:
            self._check_cells(self.cells_px)

    def _check_cells(self, levels: tuple[tuple[Cell, ...], ...]) -> None:
        """Raise ValueError where listed anchors are no boxes, or not the same number for each level."""
        good = len(levels) > 0 and len(levels[0]) > 0 and all(len(level) == len(levels[0]) for level in levels)
        check(good, "anchors.cells_px", levels, "one or more levels of the same number of anchors")
        for x0, y0, x1, y1 in (cell for level in levels for cell in level):
            good = x0 <= x1 and y0 <= y1  # equal ones are a box of one pixel
            check(good, "anchors.cells_px", (x0, y0, x1, y1), "x0 y0 x1 y1 with the last pixel not before the first")
        check(not self.stride_of_cells, "anchors.stride_of_cells", True, "False beside cells_px")

    def sizes_of_level(self, index: int, num_levels: int) -> tuple[float, ...]:
        """The sizes of level `index` (0 the finest) of `num_levels`."""
        each = len(self.sizes_px) // num_levels
        return self.sizes_px[index * each : (index + 1) * each]

    def per_cell(self, num_levels: int) -> int:
        """A: anchors a cell."""
        if self.cells_px is not None:
            return len(self.cells_px[0])
        return len(self.sizes_px) // num_levels * len(self.aspect_ratios)


@dataclasses.dataclass(frozen=True)
class RPNHeadSpec:
    """The layers of the region proposal network. Ref: Faster R-CNN, section 3.1, has one 3 x 3 convolution.

    Two are what detectron2's newer baselines have (`conv_dims` of `StandardRPNHead`, its
    modeling/proposal_generator/rpn.py) and torchvision's `maskrcnn_resnet50_fpn_v2` (`conv_depth` of `RPNHead`, its
    models/detection/rpn.py).
    """

    num_convs: int = 1

    def __post_init__(self) -> None:
        check(self.num_convs > 0, "rpn_head.num_convs", self.num_convs, "at least 1")


@dataclasses.dataclass(frozen=True)
class ProposalSpec:
    """From RPN outputs to proposals. Ref: paper 3.1, "1000 for FPN".

    The counts are those of inference; training has its own.
    """

    pre_nms_per_level: int = 1000
    max_proposals: int = 1000  # R, after the joint top-k over the levels
    nms_thresh: float = 0.7
    min_side_px: float = 1e-3  # smaller boxes are dropped before NMS
    # Dropped before NMS, too: what has a lower objectness (the sigmoid of its logit). 0 drops nothing, as the paper.
    # Ref: `filter_proposals` in torchvision/models/detection/rpn.py, "use >= for Backwards compatibility".
    score_thresh: float = 0.0

    def __post_init__(self) -> None:
        check(self.pre_nms_per_level > 0, "proposals.pre_nms_per_level", self.pre_nms_per_level, "at least 1")
        check(self.max_proposals > 0, "proposals.max_proposals", self.max_proposals, "at least 1")
        check(0 < self.nms_thresh <= 1, "proposals.nms_thresh", self.nms_thresh, "above 0, at most 1")
        check(self.min_side_px > 0, "proposals.min_side_px", self.min_side_px, "above 0")
        check(0 <= self.score_thresh <= 1, "proposals.score_thresh", self.score_thresh, "0 to 1")
