"""The ModelSpec that computes what an mmdetection network does: its weights say the shapes, its config the conventions.

Ref: mmdet/models of 3.3.0: detectors/two_stage.py, dense_heads/rpn_head.py, roi_heads (standard_roi_head.py,
roi_extractors/single_level_roi_extractor.py, bbox_heads/bbox_head.py, mask_heads/fcn_mask_head.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from maskline_train.convert.architecture import (
    NO_SIDE,
    Architecture,
    Branch,
    backbone_of,
    box_head_of,
    mask_head_of,
)
from maskline_train.convert.mmdetection.anchors import anchors_of
from maskline_train.convert.mmdetection.config import Values
from maskline_train.convert.mmdetection.pictures import Pictures
from maskline_train.convert.options import ChannelOrder
from maskline_train.spec import (
    NUM_GROUPS,
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    PreprocessingSpec,
    ProposalSpec,
    RoIAlignSpec,
    RPNHeadSpec,
)

_BOX_LAYER = "roi_head.bbox_roi_extractor.roi_layer"
_FINEST = 56.0  # px: a RoI below twice as much reads P2, as one of half the canonical 224 px does of level 4
_CANONICAL = 4


def to_spec(
    found: Architecture, settings: Values, pictures: Pictures, classes: Sequence[str], order: ChannelOrder
) -> ModelSpec:
    """The spec of a network.

    Args:
        found: by its weights.
        settings: of the model, every one that is read here.
        pictures: how they are prepared.
        classes: K names, in the order of the weights' rows.
        order: of the channels that the network was trained on; the means are turned to RGB.

    Raises:
        ValueError: a convention that a ModelSpec has no words for.
    """
    return ModelSpec(
        classes=tuple(classes),
        preprocessing=_preprocessing(pictures, order),
        backbone=_backbone(found, settings),
        anchors=anchors_of(found, settings),
        rpn_head=RPNHeadSpec(found.rpn_convs),
        proposals=ProposalSpec(
            pre_nms_per_level=settings["test_cfg.rpn.nms_pre"],
            max_proposals=settings["test_cfg.rpn.max_per_img"],
            nms_thresh=settings["test_cfg.rpn.nms.iou_threshold"],
            min_side_px=max(NO_SIDE, float(settings["test_cfg.rpn.min_bbox_size"])),
        ),
        roi_align=_roi_align(found, settings),
        box_head=_box_head(found, settings),
        mask_head=None if found.mask is None else _mask_head(found, found.mask, settings),
    )


def _preprocessing(pictures: Pictures, order: ChannelOrder) -> PreprocessingSpec:
    turned = slice(None, None, -1) if order == "bgr" else slice(None)
    return PreprocessingSpec(
        shorter_side_px=pictures.shorter,
        longer_side_px=pictures.longer,
        canvases=(),
        mean=pictures.mean[turned],  # type: ignore[arg-type]
        std=pictures.std[turned],  # type: ignore[arg-type]
        canvas_multiple=pictures.multiple,
        resize_filter=pictures.filter,
        size_rule=pictures.rule,
    )


def _backbone(found: Architecture, settings: Values) -> BackboneSpec:
    style = settings["backbone.style"]
    if found.features == "c4" and (on_rois := settings.get("roi_head.shared_head.style", "pytorch")) != style:
        raise ValueError(
            f"config: model.roi_head.shared_head.style is {on_rois!r}, supported: that of model.backbone, {style!r}"
        )
    return backbone_of(
        found,
        norm=_body_norm(found, settings),
        frozen_stages=min(5, max(0, settings["backbone.frozen_stages"] + 1)),
        stride_in_1x1=style == "caffe",
        norm_groups=_groups(found, settings),
    )


def _body_norm(found: Architecture, settings: Values) -> Literal["frozen_batch", "batch", "sync_batch", "group"]:
    """In training: `norm_eval` keeps the statistics, and without gradients the rest too; answers are the same."""
    if found.norm == "group":
        return "group"
    if settings["backbone.norm_eval"] or not settings["backbone.norm_cfg.requires_grad"]:
        return "frozen_batch"
    return "batch" if settings.get("backbone.norm_cfg.type", "BN") == "BN" else "sync_batch"


def _groups(found: Architecture, settings: Values) -> int:
    """Of the group norms of body and pyramid.

    Raises:
        ValueError: they differ.
    """
    parts = ["backbone"] * (found.norm == "group") + ["neck"] * (found.fpn_norm == "group")
    groups = {_number_of_groups(settings, part) for part in parts}
    if len(groups) > 1:
        raise ValueError(
            f"config: norm_cfg.num_groups is {groups} in backbone and neck, supported: one number for both"
        )
    return groups.pop() if groups else NUM_GROUPS


def _number_of_groups(settings: Values, part: str) -> Any:
    return settings.get(f"{part}.norm_cfg.num_groups", NUM_GROUPS)


def _roi_align(found: Architecture, settings: Values) -> RoIAlignSpec:
    """One for both heads: the mask head's must read as the box head's."""
    names = ("finest_scale", "roi_layer.type", "roi_layer.sampling_ratio", "roi_layer.aligned", "roi_layer.pool_mode")
    box = [settings[f"roi_head.bbox_roi_extractor.{name}"] for name in names]
    if found.mask is not None and found.features != "c4":
        usual = dict(zip(names, (_FINEST, None, 0, True, "avg"), strict=True))
        mask = [settings.get(f"roi_head.mask_roi_extractor.{name}", usual[name]) for name in names]
        if mask != box:
            raise ValueError(
                f"config: roi_layer of the box head is {box}, of the mask head {mask}, supported: the same"
            )
    finest, kind, sampling, aligned, mode = box
    if kind == "RoIPool":
        return RoIAlignSpec(mode="pool")
    if kind != "RoIAlign" or mode not in ("avg", "max"):
        raise ValueError(
            f"config: model.{_BOX_LAYER} is {kind!r} with pool_mode {mode!r}, supported: RoIAlign with 'avg' or 'max', "
            "and RoIPool"
        )
    return RoIAlignSpec(
        sampling_ratio=sampling,
        aligned=aligned,
        canonical_size_px=finest * 2.0 ** (_CANONICAL - 2),
        canonical_level=_CANONICAL,
        mode="align_avg" if mode == "avg" else "align_max",
    )


def _box_head(found: Architecture, settings: Values) -> BoxHeadSpec:
    return box_head_of(
        found,
        pooled_side=settings[f"{_BOX_LAYER}.output_size"],
        norm_groups=_number_of_groups(settings, "roi_head.bbox_head"),
        delta_weights=tuple(1 / std for std in settings["roi_head.bbox_head.bbox_coder.target_stds"]),
        score_thresh=settings["test_cfg.rcnn.score_thr"],
        nms_thresh=settings["test_cfg.rcnn.nms.iou_threshold"],
        max_detections=settings["test_cfg.rcnn.max_per_img"],
    )


def _mask_head(found: Architecture, branch: Branch, settings: Values) -> MaskHeadSpec:
    extractor = "bbox" if found.features == "c4" else "mask"
    return mask_head_of(
        found,
        branch,
        pooled_side=settings.get(f"roi_head.{extractor}_roi_extractor.roi_layer.output_size", MaskHeadSpec.pooled_side),
        norm_groups=_number_of_groups(settings, "roi_head.mask_head"),
    )
