"""The network in every variant of the paper, small: one field of the spec at a time; and a batch to train it on."""

import dataclasses
from collections.abc import Sequence

import torch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    KeypointHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    RPNHeadSpec,
)
from maskline_train.target import Target
from support.models.tiny import tiny_model, tiny_spec

INFO = torch.tensor([[96.0, 128.0, 1, 1, 96, 128], [90.0, 100.0, 1, 1, 90, 100]])
ONE_LEVEL = AnchorSpec(sizes_px=(16.0, 32.0, 64.0))


def variant(
    features="fpn",
    depth=18,
    mask_head=MaskHeadSpec(num_convs=1, channels=8, hidden=16),  # noqa: B008
    box_head=None,
    rpn_convs=1,
    **body,
) -> ModelSpec:
    base = tiny_spec()
    changes = {"depth": depth, "base_channels": 8, "norm": "batch", "frozen_stages": 0, "fpn_channels": 8, **body}
    return dataclasses.replace(
        base,
        backbone=BackboneSpec(features=features, **changes),
        anchors=base.anchors if features == "fpn" else ONE_LEVEL,
        box_head=BoxHeadSpec(hidden=32, pooled_side=14 if features == "c4" else 7, **(box_head or {})),
        mask_head=mask_head,
        rpn_head=RPNHeadSpec(rpn_convs),
    )


def masks(**changes) -> MaskHeadSpec:
    return MaskHeadSpec(**{"num_convs": 1, "channels": 8, "hidden": 16, **changes})


VARIANTS = {
    "C4": variant("c4", mask_head=masks(kind="res5")),
    "C4, its masks from the features alone": variant("c4"),
    "C4 of bottlenecks, frozen": variant("c4", 50, masks(kind="res5"), norm="frozen_batch"),
    "C4, competing classes": variant("c4", mask_head=masks(kind="res5", activation="softmax")),
    "C4, boxes alone": variant("c4", mask_head=None),
    "C5": variant("c5"),
    "dilated C5": variant("dc5"),
    "ResNet-34": variant(depth=34, norm="group"),
    "ResNeXt": variant(depth=50, groups=4, width_per_group=32),
    "frozen norms": variant(norm="frozen_batch"),
    "synchronised norms": variant(norm="sync_batch"),
    "group norms": variant(norm="group"),
    "non-local": variant(non_local=True),
    "MLP masks": variant(mask_head=masks(kind="mlp")),
    "MLP masks on C5, one for all classes, competing": variant(
        "c5", mask_head=masks(kind="mlp", class_agnostic=True, activation="softmax")
    ),
    "one mask for all classes": variant(mask_head=masks(class_agnostic=True)),
    "competing classes": variant(mask_head=masks(activation="softmax")),
    "boxes alone": variant(mask_head=None),
    "convolutions in the box head": variant(box_head={"num_convs": 2, "conv_channels": 8, "num_fcs": 1}),
    "two convolutions in the RPN": variant(rpn_convs=2),
    "group norms in the pyramid": variant(fpn_norm="group", norm_groups=2),
    "group norms in the mask head": variant(mask_head=masks(norm="group", norm_groups=4)),
    "a box head with norms and three layers": variant(
        box_head={"num_convs": 1, "conv_channels": 8, "num_fcs": 3, "norm": "group", "norm_groups": 4}
    ),
    "norms behind the layers of the box head": variant(box_head={"fc_norm": "group", "norm_groups": 4}),
}
KEYPOINTS = KeypointHeadSpec(names=("top", "left", "right"), pooled_side=6, num_convs=1, channels=8)
MASKS_AND_KEYPOINTS = dataclasses.replace(variant(), keypoint_head=KEYPOINTS)


def small_model(spec: ModelSpec) -> MaskRCNN:
    """As `tiny_model`, trained on few RoIs."""
    model = tiny_model(spec)
    model.sampling = SamplingSpec(roi_samples=32, pre_nms_per_level=100, max_proposals=100)
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor, list[Target]]:
    """Two images of noise, the second smaller than its canvas; one object, and none."""
    generator = torch.Generator().manual_seed(0)
    canvas = torch.randint(0, 256, (2, 96, 128, 3), generator=generator, dtype=torch.uint8)
    mask = torch.zeros(1, 96, 128, dtype=torch.uint8)
    mask[0, 30:70, 20:60] = 1
    thing = Target(torch.tensor([[20.0, 30.0, 60.0, 70.0]]), torch.tensor([1]), mask)
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), mask[:0])
    return canvas, INFO, [thing, nothing]


def with_points_of(targets: Sequence[Target], spec: ModelSpec) -> list[Target]:
    """The targets with keypoints where the network wants them, in the middle of the canvas unless they have some."""
    if spec.keypoint_head is None:
        return [dataclasses.replace(target, keypoints=None) for target in targets]
    point = torch.tensor([30.0, 40.0, 2.0])
    points = [t.keypoints if t.keypoints is not None else point.repeat(len(t.labels), 3, 1) for t in targets]
    return [dataclasses.replace(target, keypoints=each) for target, each in zip(targets, points, strict=True)]
