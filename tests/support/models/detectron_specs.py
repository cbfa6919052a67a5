"""Narrow networks of the kinds that Detectron and maskrcnn-benchmark train, as an import should describe them."""

from __future__ import annotations

import dataclasses

from maskline_train.convert.detectron.anchors import by_size, generated
from maskline_train.data import coco_person
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    KeypointHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
)

CLASSES = ("cat", "dog", "bird")
RATIOS = (0.5, 1.0, 2.0)
SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)
MEAN = (122.7717, 115.9465, 102.9801)  # RGB
NO_SIDE = 1e-6


def anchors(pyramid: bool) -> AnchorSpec:
    """One size a level, or all five on one."""
    strides = (4.0, 8.0, 16.0, 32.0, 64.0) if pyramid else (16.0,)
    levels = [
        generated(stride, [size] if pyramid else SIZES, RATIOS) for stride, size in zip(strides, SIZES, strict=False)
    ]
    order = by_size(1 if pyramid else 5, 3)
    return AnchorSpec(SIZES, RATIOS, cells_px=tuple(tuple(level[place] for place in order) for level in levels))


FPN = ModelSpec(
    CLASSES,
    PreprocessingSpec(256, 427, (), MEAN, (1.0, 1.0, 1.0), 32, "pillow", "maskrcnn_benchmark"),
    BackboneSpec(depth=50, base_channels=8, stride_in_1x1=True, fpn_channels=16, least_group_channels=1),
    anchors(pyramid=True),
    proposals=ProposalSpec(1000, 1000, 0.7, NO_SIDE),
    roi_align=RoIAlignSpec(2, aligned=False),
    box_head=BoxHeadSpec(hidden=32, min_side_px=NO_SIDE),
    mask_head=MaskHeadSpec(channels=16, paste="detectron"),
    pixel_boxes=True,
)
C4 = dataclasses.replace(
    FPN,
    preprocessing=dataclasses.replace(FPN.preprocessing, canvas_multiple=1),
    backbone=BackboneSpec(depth=50, base_channels=8, stride_in_1x1=True, features="c4", least_group_channels=1),
    anchors=anchors(pyramid=False),
    proposals=ProposalSpec(6000, 1000, 0.7, NO_SIDE),
    roi_align=RoIAlignSpec(0, aligned=False),
    box_head=BoxHeadSpec(pooled_side=14, min_side_px=NO_SIDE),
    mask_head=MaskHeadSpec(kind="res5", channels=16, paste="detectron"),
)
GROUP_NORMS = dataclasses.replace(
    FPN,
    backbone=BackboneSpec(
        depth=50, base_channels=32, norm="group", fpn_channels=32, fpn_norm="group", least_group_channels=1
    ),
    box_head=BoxHeadSpec(hidden=64, fc_norm="group", min_side_px=NO_SIDE),
    mask_head=MaskHeadSpec(channels=32, norm="group", paste="detectron"),
)
KEYPOINTS = dataclasses.replace(
    FPN,
    classes=("person",),
    mask_head=None,
    keypoint_head=KeypointHeadSpec(
        coco_person.KEYPOINTS,
        coco_person.FLIP_PAIRS,
        coco_person.SIGMAS,
        num_convs=8,
        channels=8,
        decoding="bicubic",
        score="logit",
    ),
)
KINDS = {"a pyramid": FPN, "C4": C4, "keypoints": KEYPOINTS}


def as_detectron(spec: ModelSpec) -> ModelSpec:
    """The spec with what Detectron does to pictures."""
    preprocessing = dataclasses.replace(spec.preprocessing, resize_filter="cv2", size_rule="detectron")
    return dataclasses.replace(spec, preprocessing=preprocessing)
