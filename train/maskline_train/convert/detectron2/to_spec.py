"""The ModelSpec that computes what a detectron2 network does: its weights say the shapes, its config the conventions.

Ref: detectron2/modeling (meta_arch/rcnn.py, backbone/resnet.py, proposal_generator/rpn.py, poolers.py, roi_heads).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskline_train.convert.architecture import (
    NO_SIDE,
    Architecture,
    Branch,
    backbone_of,
    box_head_of,
    mask_head_of,
)
from maskline_train.convert.detectron2.config import Values
from maskline_train.convert.keypoints import keypoint_head
from maskline_train.convert.options import ChannelOrder
from maskline_train.spec import (
    CANVAS_MULTIPLE,
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    KeypointHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
    RPNHeadSpec,
)

_POOLERS: dict[str, dict[str, Any]] = {
    "ROIAlignV2": {"aligned": True},
    "ROIAlign": {"aligned": False},
    "ROIPool": {"mode": "pool"},
}
_NORMS = {  # in training; the same names as in `agreement.NORMS`, but for none
    "FrozenBN": "frozen_batch",
    "BN": "batch",
    "GN": "group",
    **dict.fromkeys(("SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N"), "sync_batch"),
}
_CLEARLY = 5.0  # of 255: by more than this ImageNet's mean of red is above that of blue


def to_spec(
    found: Architecture, config: Values, classes: Sequence[str], keypoints: Sequence[str], order: ChannelOrder
) -> ModelSpec:
    """The spec of a network.

    Args:
        found: by its weights.
        config: every setting that is read here.
        classes: K names, in the order of the weights' rows.
        keypoints: J names, where the network has such a branch; COCO's 17 bring their pairs and constants.
        order: of the channels that the network was trained on; the means are turned to RGB.

    Raises:
        ValueError: a convention that a ModelSpec has no words for.
    """
    return ModelSpec(
        classes=tuple(classes),
        preprocessing=_preprocessing(found, config, order),
        backbone=_backbone(found, config),
        anchors=_anchors(found, config),
        rpn_head=RPNHeadSpec(found.rpn_convs),
        proposals=ProposalSpec(
            pre_nms_per_level=config["MODEL.RPN.PRE_NMS_TOPK_TEST"],
            max_proposals=config["MODEL.RPN.POST_NMS_TOPK_TEST"],
            nms_thresh=config["MODEL.RPN.NMS_THRESH"],
            min_side_px=max(NO_SIDE, float(config["MODEL.PROPOSAL_GENERATOR.MIN_SIZE"])),
        ),
        roi_align=_roi_align(found, config),
        box_head=_box_head(found, config),
        mask_head=None if found.mask is None else _mask_head(found, found.mask, config),
        keypoint_head=None if found.keypoints is None else _keypoint_head(found.keypoints, keypoints, config),
    )


def channel_order(config: Values) -> ChannelOrder:
    """The order that the config says.

    Raises:
        ValueError: an unknown one, or means that are in the other order.
    """
    name, mean = config["INPUT.FORMAT"], config["MODEL.PIXEL_MEAN"]
    if name not in ("BGR", "RGB"):
        raise ValueError(f"INPUT.FORMAT: got {name!r}, expected BGR or RGB")
    red, blue = (mean[2], mean[0]) if name == "BGR" else (mean[0], mean[2])
    if blue > red + _CLEARLY:
        raise ValueError(
            f"INPUT.FORMAT {name} with MODEL.PIXEL_MEAN {mean}: these means are in the other order; "
            "say by --channels bgr or --channels rgb what the network was trained on"
        )
    return "bgr" if name == "BGR" else "rgb"


def _preprocessing(found: Architecture, config: Values, order: ChannelOrder) -> PreprocessingSpec:
    shorter, longer = config["INPUT.MIN_SIZE_TEST"], config["INPUT.MAX_SIZE_TEST"]
    turned = slice(None, None, -1) if order == "bgr" else slice(None)
    mean, std = (tuple(map(float, config[f"MODEL.PIXEL_{name}"][turned])) for name in ("MEAN", "STD"))
    # `size_divisibility`: the pyramid's is the stride of its last level of the body, other bodies have none.
    multiple = CANVAS_MULTIPLE if found.features == "fpn" else 1
    return PreprocessingSpec(shorter, longer, (), mean, std, multiple, size_rule="detectron2")  # type: ignore[arg-type]


def _backbone(found: Architecture, config: Values) -> BackboneSpec:
    norm = config["MODEL.RESNETS.NORM"]
    if norm not in _NORMS:
        raise ValueError(f"MODEL.RESNETS.NORM: got {norm!r}, expected one of {', '.join(_NORMS)}")
    return backbone_of(
        found,
        norm=_NORMS[norm],
        frozen_stages=config["MODEL.BACKBONE.FREEZE_AT"],
        stride_in_1x1=config["MODEL.RESNETS.STRIDE_IN_1X1"],
    )


def _anchors(found: Architecture, config: Values) -> AnchorSpec:
    levels = 5 if found.features == "fpn" else 1
    sizes, ratios = config["MODEL.ANCHOR_GENERATOR.SIZES"], config["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"]
    sizes = sizes * levels if len(sizes) == 1 else sizes  # one list counts for every level
    same = len({len(level) for level in sizes}) == 1 and all(level == ratios[0] for level in ratios)
    if len(sizes) != levels or not same:
        raise ValueError(
            f"MODEL.ANCHOR_GENERATOR: got SIZES {sizes} and ASPECT_RATIOS {ratios}, expected as many sizes for each of "
            f"{levels} level(s), and the same ratios for all"
        )
    got = len(sizes[0]) * len(ratios[0])
    if got != found.anchors:
        raise ValueError(
            f"MODEL.ANCHOR_GENERATOR: got {got} anchors a cell, the weights have {found.anchors}; "
            "config and weights belong to two networks"
        )
    return AnchorSpec(
        sizes_px=tuple(float(size) for level in sizes for size in level),
        aspect_ratios=tuple(float(ratio) for ratio in ratios[0]),
        centre_offset=float(config["MODEL.ANCHOR_GENERATOR.OFFSET"]),
    )


def _roi_align(found: Architecture, config: Values) -> RoIAlignSpec:
    """One for all heads: others than the box head's must read as it does."""
    heads = ["BOX"] + ["MASK"] * (found.mask is not None) + ["KEYPOINT"] * (found.keypoints is not None)
    if found.features == "c4":
        heads = ["BOX"]  # the stage res5 serves both
    poolers = {
        head: tuple(config[f"MODEL.ROI_{head}_HEAD.POOLER_{name}"] for name in ("SAMPLING_RATIO", "TYPE"))
        for head in heads
    }
    if len(set(poolers.values())) > 1:
        raise ValueError(f"POOLER_SAMPLING_RATIO and POOLER_TYPE: got {poolers}, expected the same for all heads")
    sampling, kind = poolers["BOX"]
    if kind not in _POOLERS:
        raise ValueError(f"MODEL.ROI_BOX_HEAD.POOLER_TYPE: got {kind!r}, expected one of {', '.join(_POOLERS)}")
    return RoIAlignSpec(sampling_ratio=sampling, **_POOLERS[kind])


def _box_head(found: Architecture, config: Values) -> BoxHeadSpec:
    return box_head_of(
        found,
        pooled_side=config["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"],
        delta_weights=tuple(map(float, config["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"])),
        score_thresh=config["MODEL.ROI_HEADS.SCORE_THRESH_TEST"],
        nms_thresh=config["MODEL.ROI_HEADS.NMS_THRESH_TEST"],
        max_detections=config["TEST.DETECTIONS_PER_IMAGE"],
    )


def _mask_head(found: Architecture, branch: Branch, config: Values) -> MaskHeadSpec:
    head = "BOX" if found.features == "c4" else "MASK"
    return mask_head_of(found, branch, pooled_side=config[f"MODEL.ROI_{head}_HEAD.POOLER_RESOLUTION"])


def _keypoint_head(branch: Branch, names: Sequence[str], config: Values) -> KeypointHeadSpec:
    return keypoint_head(
        names,
        pooled_side=config["MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION"],
        num_convs=branch.convs,
        channels=branch.channels,
    )
