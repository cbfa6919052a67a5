"""Which heads a spec asks for: the one place where a kind becomes a module.

To add a head: a file of its own in this folder, its name among the spec's kinds, and a line here.
"""

from __future__ import annotations

from maskline_train.model.heads.box_head import BoxHead
from maskline_train.model.heads.c4_head import C4BoxHead, Res5Stage
from maskline_train.model.heads.keypoint_head import KeypointHead
from maskline_train.model.heads.mask_head import MaskHead, Res5MaskHead
from maskline_train.model.heads.mask_mlp_head import MLPMaskHead
from maskline_train.spec import ModelSpec


def build_res5(spec: ModelSpec) -> Res5Stage | None:
    """The body's fifth stage for the heads of the C4 features; None where the body holds it."""
    return Res5Stage(spec.backbone) if spec.backbone.features == "c4" else None


def build_box_head(spec: ModelSpec) -> BoxHead | C4BoxHead:
    """The box branch: on the stage res5 for C4, on pooled features otherwise. Ref: paper figure 4."""
    if spec.backbone.features == "c4":
        return C4BoxHead(spec.backbone.body_channels[3], spec.num_classes)
    return BoxHead(spec.backbone.feature_channels, spec.num_classes, spec.box_head)


def build_mask_head(spec: ModelSpec) -> MaskHead | MLPMaskHead | Res5MaskHead | None:
    """The mask branch; None for boxes only."""
    if spec.mask_head is None:
        return None
    if spec.mask_head.kind == "res5":
        return Res5MaskHead(spec.backbone.body_channels[3], spec.num_classes, spec.mask_head)
    if spec.mask_head.kind == "mlp":
        return MLPMaskHead(spec.backbone.feature_channels, spec.num_classes, spec.mask_head)
    return MaskHead(spec.backbone.feature_channels, spec.num_classes, spec.mask_head)


def build_keypoint_head(spec: ModelSpec) -> KeypointHead | None:
    """The keypoint branch; None for none."""
    return None if spec.keypoint_head is None else KeypointHead(spec.backbone.feature_channels, spec.keypoint_head)
