"""The ModelSpec of a network of Detectron or maskrcnn-benchmark: shapes by its weights, conventions by its config.

Ref: detectron/core/test.py, maskrcnn_benchmark/modeling (rpn/inference.py, roi_heads, poolers.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from maskline_train.convert.architecture import (
    NO_SIDE,
    Architecture,
    Branch,
    backbone_of,
    box_head_of,
    mask_head_of,
)
from maskline_train.convert.keypoints import keypoint_head
from maskline_train.convert.options import ChannelOrder
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
    RPNHeadSpec,
)
from maskline_train.spec.proposals import Cell

Head = Literal["BOX", "MASK", "KEYPOINT"]


@dataclasses.dataclass(frozen=True)
class Pooler:
    """How a head reads features: cells a side, points a bin and axis (0 adaptive), and by which operator."""

    side: int
    sampling_ratio: int
    mode: Literal["align_avg", "pool"] = "align_avg"


@dataclasses.dataclass(frozen=True)
class Conventions:
    """What a config says of inference, whichever of the two it is of.

    Attributes:
        preprocessing: means in RGB order.
        stride_in_1x1: of the bottlenecks.
        cells: the anchors of each level in our order, by size, then ratio.
        sizes, ratios: that they were made of.
        proposals: counts and thresholds.
        poolers: of the heads that the network has.
        canonical: size, px, and level of the box whose features are of that level.
        box: thresholds, delta weights and the number of detections, as fields of `BoxHeadSpec`.
    """

    preprocessing: PreprocessingSpec
    stride_in_1x1: bool
    cells: tuple[tuple[Cell, ...], ...]
    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    proposals: ProposalSpec
    poolers: Mapping[Head, Pooler]
    box: Mapping[str, Any]
    canonical: tuple[float, int] = (224.0, 4)


def heads_of(found: Architecture) -> list[Head]:
    """The heads of a network."""
    there: dict[Head, bool] = {"BOX": True, "MASK": found.mask is not None, "KEYPOINT": found.keypoints is not None}
    return [head for head, is_there in there.items() if is_there]


def turned(values: Sequence[float], order: ChannelOrder, scale: float = 1.0) -> tuple[float, float, float]:
    """Three numbers of channels in RGB order."""
    first, second, third = (scale * value for value in values)
    return (third, second, first) if order == "bgr" else (first, second, third)


def to_spec(found: Architecture, said: Conventions, classes: Sequence[str], keypoints: Sequence[str]) -> ModelSpec:
    """The spec of a network.

    Args:
        found: by its weights.
        said: by its config.
        classes: K names, in the order of the labels 1, 2, ...
        keypoints: J names, where the network has such a branch.

    Raises:
        ValueError: a convention that a ModelSpec has no words for.
    """
    return ModelSpec(
        classes=tuple(classes),
        preprocessing=said.preprocessing,
        backbone=_backbone(found, said),
        anchors=AnchorSpec(said.sizes, said.ratios, cells_px=said.cells),
        rpn_head=RPNHeadSpec(found.rpn_convs),
        proposals=dataclasses.replace(said.proposals, min_side_px=NO_SIDE),
        roi_align=_roi_align(said),
        box_head=box_head_of(found, pooled_side=said.poolers["BOX"].side, **said.box),
        mask_head=None if found.mask is None else _mask_head(found, found.mask, said),
        keypoint_head=None if found.keypoints is None else _keypoints(found, said, keypoints),
        pixel_boxes=True,
    )


def _backbone(found: Architecture, said: Conventions) -> BackboneSpec:
    norm = "group" if found.norm == "group" else "frozen_batch"
    return backbone_of(found, norm=norm, stride_in_1x1=said.stride_in_1x1)


def _roi_align(said: Conventions) -> RoIAlignSpec:
    """One for all heads: others than the box head's must read as it does."""
    ways = {head: (pooler.sampling_ratio, pooler.mode) for head, pooler in said.poolers.items()}
    if len(set(ways.values())) > 1:
        raise ValueError(f"config: got sampling and operator of RoIs {ways}, expected the same for all heads")
    sampling_ratio, mode = ways["BOX"]
    size, level = said.canonical
    return RoIAlignSpec(sampling_ratio, aligned=False, canonical_size_px=size, canonical_level=level, mode=mode)


def _mask_head(found: Architecture, branch: Branch, said: Conventions) -> MaskHeadSpec:
    side = said.poolers["BOX" if found.features == "c4" else "MASK"].side
    return mask_head_of(found, branch, pooled_side=side, paste="detectron")


def _keypoints(found: Architecture, said: Conventions, names: Sequence[str]) -> Any:
    assert found.keypoints is not None
    return keypoint_head(
        names,
        pooled_side=said.poolers["KEYPOINT"].side,
        num_convs=found.keypoints.convs,
        channels=found.keypoints.channels,
        score="logit",
    )
