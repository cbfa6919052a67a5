"""The ModelSpec that computes what a detectron2 network does: its weights say the shapes, its config the conventions.

Ref: detectron2/modeling (meta_arch/rcnn.py, backbone/resnet.py, proposal_generator/rpn.py, poolers.py, roi_heads).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from maskline_train.convert.detectron2.architecture import Architecture, Branch, Norm
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

_NO_SIDE = 1e-6  # px: it drops boxes without area alone, which have no side of that length
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
            min_side_px=max(_NO_SIDE, float(config["MODEL.PROPOSAL_GENERATOR.MIN_SIZE"])),
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
    return BackboneSpec(
        depth=found.body.depth,  # type: ignore[arg-type]
        base_channels=found.body.stem,
        norm=_NORMS[norm],  # type: ignore[arg-type]
        frozen_stages=config["MODEL.BACKBONE.FREEZE_AT"],
        stride_in_1x1=config["MODEL.RESNETS.STRIDE_IN_1X1"],
        fpn_channels=found.fpn_channels or BackboneSpec.fpn_channels,
        features=found.features,
        groups=found.body.groups,
        width_per_group=found.body.width_per_group,
        fpn_norm=_head_norm(found.fpn_norm),
        least_group_channels=1,
    )


def _head_norm(norm: Norm) -> Literal["none", "group"]:
    """Of pyramid and heads; batch norms there are inside of their convolutions by now."""
    return "group" if norm == "group" else "none"


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
    return BoxHeadSpec(
        pooled_side=config["MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION"],
        hidden=found.box_layers[1] or BoxHeadSpec.hidden,
        num_convs=found.box.convs,
        conv_channels=found.box.channels or BoxHeadSpec.conv_channels,
        num_fcs=found.box_layers[0] or BoxHeadSpec.num_fcs,
        norm=_head_norm(found.box.norm),
        delta_weights=tuple(map(float, config["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"])),  # type: ignore[arg-type]
        score_thresh=config["MODEL.ROI_HEADS.SCORE_THRESH_TEST"],
        nms_thresh=config["MODEL.ROI_HEADS.NMS_THRESH_TEST"],
        max_detections=config["TEST.DETECTIONS_PER_IMAGE"],
        min_side_px=_NO_SIDE,
    )


def _mask_head(found: Architecture, branch: Branch, config: Values) -> MaskHeadSpec:
    res5 = found.features == "c4"
    return MaskHeadSpec(
        pooled_side=config[f"MODEL.ROI_{'BOX' if res5 else 'MASK'}_HEAD.POOLER_RESOLUTION"],
        num_convs=branch.convs or MaskHeadSpec.num_convs,
        channels=branch.channels or MaskHeadSpec.channels,
        kind="res5" if res5 else "fcn",
        class_agnostic=branch.rows == 1 != found.num_classes,
        norm=_head_norm(branch.norm),
    )


def _keypoint_head(branch: Branch, names: Sequence[str], config: Values) -> KeypointHeadSpec:
    return keypoint_head(
        names,
        pooled_side=config["MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION"],
        num_convs=branch.convs,
        channels=branch.channels,
    )
