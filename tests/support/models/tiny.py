"""A whole Mask R-CNN small enough for tests, with random weights that nevertheless find objects."""

from __future__ import annotations

import torch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
)


def tiny_spec() -> ModelSpec:
    """8 channels, 3 classes, canvases of 96 px: runs in milliseconds."""
    return ModelSpec(
        classes=("circle", "square", "star"),
        preprocessing=PreprocessingSpec(
            shorter_side_px=96, longer_side_px=128, canvases=((96, 128), (128, 96), (128, 128))
        ),
        backbone=BackboneSpec(depth=18, base_channels=8, norm="batch", frozen_stages=0, fpn_channels=8),
        anchors=AnchorSpec(sizes_px=(8.0, 16.0, 32.0, 64.0, 128.0)),
        proposals=ProposalSpec(pre_nms_per_level=100, max_proposals=120),
        box_head=BoxHeadSpec(hidden=32),
        mask_head=MaskHeadSpec(num_convs=1, channels=8),
    )


def tiny_model(spec: ModelSpec | None = None, seed: int = 0) -> MaskRCNN:
    """A model in evaluation mode whose last layers are scaled up, so that scores, boxes and masks are spread."""
    torch.manual_seed(seed)
    model = MaskRCNN(spec or tiny_spec()).eval()
    layers = [
        (model.rpn_head.logits, 300.0),
        (model.rpn_head.deltas, 30.0),
        (model.box_head.class_logits, 30.0),
        (model.box_head.box_deltas, 300.0),
    ]
    # Each lets a twelfth through as it starts, and of a gradient so little that a step is lost in rounding.
    layers += [(conv, 100.0) for conv in model.rpn_head.more_convs]
    if model.mask_head is not None:
        layers.append((model.mask_head.mask_logits, 1000.0))
    with torch.no_grad():
        for layer, factor in layers:
            layer.weight.mul_(factor)
    return model
