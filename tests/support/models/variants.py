"""Tiny networks that between them hold every variant of the paper: bodies, RoI operators, heads."""

from __future__ import annotations

import dataclasses

from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    KeypointHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    ProposalSpec,
    RoIAlignSpec,
    RPNHeadSpec,
)
from support.models.pixel_boxes import pixel_spec
from support.models.tiny import tiny_spec

# Half the proposals of the tiny network: the heads of c4 hold a stage of the body, and take it for each of them.
_BASE = dataclasses.replace(tiny_spec(), proposals=ProposalSpec(pre_nms_per_level=100, max_proposals=60))
_BODY = BackboneSpec(depth=18, base_channels=8, norm="batch", frozen_stages=0, fpn_channels=8)
_RESNEXT = dataclasses.replace(_BODY, depth=50, base_channels=32, groups=4, width_per_group=16, non_local=True)
_KEYPOINTS = KeypointHeadSpec(
    names=("top", "left", "right"), flip_pairs=(("left", "right"),), pooled_side=7, num_convs=2, channels=8
)
_FEW = AnchorSpec(sizes_px=(16.0, 32.0, 64.0))

VARIANTS: dict[str, ModelSpec] = {
    # figure 4, left: the heads hold the fifth stage; several anchor sizes on one level; RoIWarp; competing classes
    "c4_warp_softmax": dataclasses.replace(
        _BASE,
        backbone=dataclasses.replace(_BODY, features="c4"),
        anchors=_FEW,
        roi_align=RoIAlignSpec(mode="warp"),
        box_head=BoxHeadSpec(pooled_side=14),
        mask_head=MaskHeadSpec(kind="res5", channels=8, activation="softmax"),
    ),
    # plain stride 32, the paper's maximum, one mask for all classes from fully connected layers
    "c5_max_mlp_agnostic": dataclasses.replace(
        _BASE,
        backbone=dataclasses.replace(_BODY, features="c5"),
        anchors=_FEW,
        roi_align=RoIAlignSpec(mode="align_max"),
        mask_head=MaskHeadSpec(kind="mlp", hidden=16, pooled_side=7, class_agnostic=True),
    ),
    # ResNeXt, group norm, the non-local block; masks and keypoints together
    "resnext_group_non_local_keypoints": dataclasses.replace(
        _BASE, backbone=dataclasses.replace(_RESNEXT, norm="group"), keypoint_head=_KEYPOINTS
    ),
    # boxes alone, legacy alignment, one sampling point, norms behind the layers of the box head
    "boxes_alone": dataclasses.replace(
        _BASE,
        roi_align=RoIAlignSpec(sampling_ratio=1, aligned=False),
        box_head=BoxHeadSpec(hidden=32, norm_groups=1, fc_norm="group"),
        mask_head=None,
    ),
    # that ResNeXt with norms that become part of its convolutions; keypoints without masks; torchvision's anchors
    # and its way from heatmaps to points
    "resnext_keypoints_alone": dataclasses.replace(
        _BASE,
        backbone=_RESNEXT,
        anchors=dataclasses.replace(_BASE.anchors, rounded=True, stride_of_cells=True),
        mask_head=None,
        keypoint_head=dataclasses.replace(_KEYPOINTS, decoding="bicubic", score="logit"),
    ),
    # one mask for all classes that competes with the background
    "agnostic_softmax": dataclasses.replace(
        _BASE, mask_head=MaskHeadSpec(num_convs=1, channels=8, activation="softmax", class_agnostic=True)
    ),
    # what later networks have before the answers: norms in the pyramid, two convolutions in the RPN and a score cut,
    # convolutions in the box head and norms there and in the mask head
    "convolutional_heads": dataclasses.replace(
        _BASE,
        backbone=dataclasses.replace(_BODY, fpn_norm="group", norm_groups=4),
        mask_head=MaskHeadSpec(num_convs=2, channels=8, norm="group", norm_groups=2),
        rpn_head=RPNHeadSpec(num_convs=2),
        proposals=dataclasses.replace(_BASE.proposals, score_thresh=0.99),
        box_head=BoxHeadSpec(hidden=32, num_convs=2, conv_channels=8, num_fcs=1, norm="group", norm_groups=4),
    ),
    # a fifth stage of stride 16, dilated, read by all heads; as many samples as a box's size asks for
    "dilated_c5": dataclasses.replace(
        _BASE,
        roi_align=RoIAlignSpec(sampling_ratio=0),
        backbone=dataclasses.replace(_BODY, features="dc5"),
        anchors=_FEW,
        box_head=BoxHeadSpec(hidden=32),
    ),
    # boxes of first and last pixels with all that comes with them in Detectron's networks
    "pixel_boxes": pixel_spec(
        dataclasses.replace(_BASE, keypoint_head=dataclasses.replace(_KEYPOINTS, decoding="bicubic", score="logit"))
    ),
    # the same on features of one stride
    "pixel_boxes_c4": pixel_spec(
        dataclasses.replace(
            _BASE,
            backbone=dataclasses.replace(_BODY, features="c4"),
            anchors=_FEW,
            box_head=BoxHeadSpec(pooled_side=14),
            mask_head=MaskHeadSpec(kind="res5", channels=8),
        )
    ),
    # RoIPool, with the features of stride 32 and competing classes from fully connected layers
    "c5_pool_mlp_softmax": dataclasses.replace(
        _BASE,
        backbone=dataclasses.replace(_BODY, features="c5"),
        anchors=_FEW,
        roi_align=RoIAlignSpec(mode="pool"),
        mask_head=MaskHeadSpec(kind="mlp", hidden=16, pooled_side=7, activation="softmax"),
    ),
}
