"""The settings of `model` in a config by their full names, as 3.x calls them, and what is taken where it is silent.

Ref: the constructors in mmdet/models of 3.3.0 for defaults; mmdet 2.0 to 2.28 for older names.
"""

from __future__ import annotations

import re
from typing import Any

from maskline_train.convert.mmdetection.config import Values, flat

# Of mmdetection's constructors, by the names that an import reads.
DEFAULTS: dict[str, Any] = {
    "backbone.frozen_stages": -1,
    "backbone.norm_cfg.requires_grad": True,
    "backbone.norm_eval": True,
    "backbone.style": "pytorch",
    "rpn_head.anchor_generator.center_offset": 0.0,
    "rpn_head.anchor_generator.scale_major": True,
    "rpn_head.bbox_coder.target_means": [0.0, 0.0, 0.0, 0.0],
    "rpn_head.bbox_coder.target_stds": [1.0, 1.0, 1.0, 1.0],
    "roi_head.bbox_head.bbox_coder.target_means": [0.0, 0.0, 0.0, 0.0],
    "roi_head.bbox_head.bbox_coder.target_stds": [0.1, 0.1, 0.2, 0.2],
    "roi_head.bbox_roi_extractor.finest_scale": 56,
    "roi_head.bbox_roi_extractor.roi_layer.aligned": True,
    "roi_head.bbox_roi_extractor.roi_layer.pool_mode": "avg",
    "roi_head.bbox_roi_extractor.roi_layer.sampling_ratio": 0,
    "test_cfg.rpn.min_bbox_size": 0,
}
# No default: a config that is whole has them.
REQUIRED: dict[str, Any] = {
    "rpn_head.anchor_generator.ratios": [0.5, 1.0, 2.0],
    "rpn_head.anchor_generator.strides": [4, 8, 16, 32, 64],
    "roi_head.bbox_roi_extractor.roi_layer.output_size": 7,
    "roi_head.bbox_roi_extractor.roi_layer.type": "RoIAlign",
    "test_cfg.rcnn.max_per_img": 100,
    "test_cfg.rcnn.nms.iou_threshold": 0.5,
    "test_cfg.rcnn.score_thr": 0.05,
    "test_cfg.rpn.max_per_img": 1000,
    "test_cfg.rpn.nms.iou_threshold": 0.7,
    "test_cfg.rpn.nms_pre": 1000,
}
_RENAMED = (  # of 2.0 to 2.7, which 2.x reads to the end
    (r"\.roi_layer\.out_size$", ".roi_layer.output_size"),
    (r"\.roi_layer\.sample_num$", ".roi_layer.sampling_ratio"),
    (r"\.nms\.iou_thr$", ".nms.iou_threshold"),
    (r"^test_cfg\.rpn\.nms_thr$", "test_cfg.rpn.nms.iou_threshold"),
    (r"^test_cfg\.rpn\.max_num$", "test_cfg.rpn.max_per_img"),
)


def settings_of(config: Values) -> dict[str, Any]:
    """What a config says of its model.

    Raises:
        ValueError: it says nothing of a model.
    """
    model = config.get("model")
    if not isinstance(model, dict):
        raise ValueError("config: has no `model = dict(...)`; give the config that mmdetection dumped")
    parts = {name: part for name, part in model.items() if name not in ("data_preprocessor", "train_cfg", "pretrained")}
    older = config.get("test_cfg")  # beside the model until 2.7; in 3.x the loop's of that name
    if not parts.get("test_cfg") and isinstance(older, dict) and "rcnn" in older:
        parts["test_cfg"] = older
    return {_name(name): _class(value) if _is_type(name) else value for name, value in flat(parts)}


def _name(name: str) -> str:
    for pattern, newer in _RENAMED:
        name = re.sub(pattern, newer, name)
    return name


def _is_type(name: str) -> bool:
    return name.rpartition(".")[2] == "type"


def _class(value: Any) -> Any:
    """A class without its package, which newer configs put before it."""
    return value.rpartition(".")[2] if isinstance(value, str) else value


def complete(said: Values) -> dict[str, Any]:
    """Every setting that is read: the config's, else mmdetection's own defaults.

    Raises:
        ValueError: one without a default is missing, or one is of another kind.
    """
    missing = [name for name in REQUIRED if name not in said]
    if missing:
        raise ValueError(f"config: says nothing of model.{', model.'.join(missing)}; give the whole, dumped config")
    for name, usual in {**DEFAULTS, **REQUIRED}.items():
        if name in said and not _of_kind(said[name], usual):
            raise ValueError(f"config: model.{name} is {said[name]!r}, expected something like {usual!r}")
    return {**DEFAULTS, **said}


def _of_kind(value: Any, usual: Any) -> bool:
    if isinstance(usual, list):
        # Four numbers of a box are four; ratios and strides as many as there are, a stride also as a pair.
        right = isinstance(value, list) and len(value) > 0 and (len(usual) != 4 or len(value) == 4)
        return right and all(_of_kind(each, usual[0]) or isinstance(each, list) for each in value)
    if isinstance(usual, bool | str):
        return type(value) is type(usual)
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # which NaN is not
