"""Configs of mmdetection for tests: that of a checkpoint in `tests/foreign` with other settings in some places."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from maskline_train.convert.mmdetection.config import config_in
from maskline_train.convert.reading.foreign_file import ForeignWeights, read_foreign
from support.models import foreign

FPN, C4 = "mmdetection/mask_fpn", "mmdetection/mask_c4_caffe"
_GN = {"type": "GN", "num_groups": 32, "requires_grad": True}
# What the published networks, five times as wide and of COCO's 80 classes, change in the config of the narrow ones.
_WIDE: dict[str, Any] = {
    "model.backbone.base_channels": 64,
    "model.roi_head.bbox_head.num_classes": 80,
    "model.roi_head.mask_head.conv_out_channels": 256,
}
_WIDE_FPN = {
    **_WIDE,
    "model.neck.out_channels": 256,
    "model.rpn_head.feat_channels": 256,
    "model.roi_head.bbox_head.fc_out_channels": 1024,
}
PUBLISHED: dict[str, tuple[str, dict[str, Any]]] = {
    "mask_rcnn_r50_fpn_1x_coco": (FPN, _WIDE_FPN),
    "mask_rcnn_r50_fpn_8xb8_amp_lsj_200e_coco": (FPN, _WIDE_FPN),
    "mask_rcnn_x101_32x4d_fpn_1x_coco": (
        FPN,
        _WIDE_FPN | {"model.backbone.type": "ResNeXt", "model.backbone.depth": 101, "model.backbone.groups": 32},
    ),
    "mask_rcnn_r50_fpn_gn_all_2x_coco": (
        FPN,
        _WIDE_FPN
        | {
            "model.backbone.norm_cfg": _GN,
            "model.neck.norm_cfg": _GN,
            "model.roi_head.bbox_head.norm_cfg": _GN,
            "model.roi_head.bbox_head.type": "Shared4Conv1FCBBoxHead",
            "model.roi_head.mask_head.norm_cfg": _GN,
        },
    ),
    "mask_rcnn_r50_caffe_c4_1x_coco": (C4, {**_WIDE, "model.rpn_head.feat_channels": 1024}),
    "faster_rcnn_r50_caffe_dc5_1x_coco": (
        C4,
        {
            "model.type": "FasterRCNN",
            "model.backbone.base_channels": 64,
            "model.backbone.num_stages": 4,
            "model.rpn_head.feat_channels": 2048,
            "model.backbone.strides": (1, 2, 2, 1),
            "model.backbone.dilations": (1, 1, 1, 2),
            "model.backbone.out_indices": (3,),
            "model.roi_head.shared_head": None,
            "model.roi_head.mask_head": None,
            "model.roi_head.bbox_roi_extractor.roi_layer.output_size": 7,
            "model.roi_head.bbox_head.type": "Shared2FCBBoxHead",
            "model.roi_head.bbox_head.with_avg_pool": False,
            "model.roi_head.bbox_head.fc_out_channels": 1024,
            "model.roi_head.bbox_head.num_classes": 80,
        },
    ),
}


@functools.cache
def file_of(network: str) -> ForeignWeights:
    """A checkpoint's file."""
    return read_foreign(foreign.checkpoint(network))


def config_of(network: str) -> dict[str, Any]:
    """The config inside of it."""
    config = config_in(file_of(network).around["meta"])
    assert config is not None
    return config


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The config, in which these settings, by their full names, are others."""
    for name, value in changes.items():
        *parents, last = name.split(".")
        part = config
        for parent in parents:
            part = part[parent]
        part[last] = value
    return config


def written(config: dict[str, Any], folder: Path) -> Path:
    """A file of it, as a dump is: assignments of literals."""
    path = folder / "config.py"
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in config.items()), encoding="utf-8")
    return path
