"""maskrcnn-benchmark's config: what is read of it, its defaults, and whether it belongs to the weights.

Ref: maskrcnn_benchmark/config/defaults.py for names and defaults; configs/e2e_mask_rcnn_R_50_{FPN,C4}_1x.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from maskline_train.convert.architecture import Architecture, Features
from maskline_train.convert.detectron2.config import Values
from maskline_train.convert.disagreement import check_agreement, check_support

# What is read. A config says what differs from these.
DEFAULTS: dict[str, Any] = {
    "DATALOADER.SIZE_DIVISIBILITY": 0,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.PIXEL_MEAN": [102.9801, 115.9465, 122.7717],
    "INPUT.PIXEL_STD": [1.0, 1.0, 1.0],
    "INPUT.TO_BGR255": True,
    "MODEL.RESNETS.STRIDE_IN_1X1": True,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_HEADS.BBOX_REG_WEIGHTS": [10.0, 10.0, 5.0, 5.0],
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 100,
    "MODEL.ROI_HEADS.NMS": 0.5,
    "MODEL.ROI_HEADS.SCORE_THRESH": 0.05,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
    "MODEL.RPN.ANCHOR_SIZES": [32, 64, 128, 256, 512],
    "MODEL.RPN.ANCHOR_STRIDE": [16],
    "MODEL.RPN.ASPECT_RATIOS": [0.5, 1.0, 2.0],
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 2000,
    "MODEL.RPN.MIN_SIZE": 0,
    "MODEL.RPN.NMS_THRESH": 0.7,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 1000,
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 6000,
}
LISTS = ("MODEL.RPN.ANCHOR_SIZES", "MODEL.RPN.ANCHOR_STRIDE", "MODEL.RPN.ASPECT_RATIOS")
# What the published configs with a pyramid change of it; those of C4 change nothing.
_ZOO_FPN: dict[str, Any] = {
    "DATALOADER.SIZE_DIVISIBILITY": 32,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 2,
    "MODEL.RPN.ANCHOR_STRIDE": [4, 8, 16, 32, 64],
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 1000,
    "MODEL.RPN.PRE_NMS_TOP_N_TEST": 1000,
}
_BODY = re.compile(r"R-(?P<depth>\d+)-(?P<features>FPN|C4)")
_SCALES = {"fpn": [1 / 4, 1 / 8, 1 / 16, 1 / 32], "c4": [1 / 16]}


def zoo_values(features: Features) -> dict[str, Any]:
    """What the published configs with these features say of inference."""
    return {**DEFAULTS, **(_ZOO_FPN if features == "fpn" else {})}


def check_config(found: Architecture, given: Values) -> None:
    """Raise where a config says another network than the weights, or one that is not supported.

    Raises:
        ValueError: naming the setting.
    """
    check_agreement(given, _of_weights(found))
    check_support(given, _supported(found))
    body = _BODY.match(str(given.get("MODEL.BACKBONE.CONV_BODY", "")))
    if body is not None and (int(body["depth"]), body["features"].lower()) != (found.body.depth, found.features):
        raise ValueError(
            f"config: MODEL.BACKBONE.CONV_BODY is {body[0]!r}, the weights have {found.body.depth} layers and "
            f"{found.features}; they belong to two networks"
        )


def _of_weights(found: Architecture) -> Iterator[tuple[str, object]]:
    """What the weights say of settings."""
    yield "MODEL.ROI_BOX_HEAD.NUM_CLASSES", found.num_classes + 1
    yield "MODEL.MASK_ON", found.mask is not None
    yield "MODEL.KEYPOINT_ON", found.keypoints is not None
    yield "MODEL.RESNETS.NUM_GROUPS", found.body.groups
    yield "MODEL.RESNETS.WIDTH_PER_GROUP", found.body.width // found.body.groups
    yield "MODEL.RESNETS.STEM_OUT_CHANNELS", found.body.stem
    yield "MODEL.FPN.USE_GN", found.fpn_norm == "group"
    if found.num_classes > 1:
        yield "MODEL.CLS_AGNOSTIC_BBOX_REG", found.agnostic_boxes
    if found.keypoints is not None:
        yield "MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES", found.keypoints.rows


def _supported(found: Architecture) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Settings that change answers and have one value here; the weights do not say them."""
    yield "MODEL.META_ARCHITECTURE", ("GeneralizedRCNN",)
    for name in ("MODEL.RPN_ONLY", "MODEL.RETINANET_ON", "MODEL.FPN.USE_RELU", "TEST.BBOX_AUG.ENABLED"):
        yield name, (False,)
    yield "MODEL.RPN.RPN_HEAD", ("SingleConvRPNHead",)
    yield "MODEL.RESNETS.RES5_DILATION", (1,)
    yield "MODEL.RESNETS.STAGE_WITH_DCN", ([False] * 4, (False,) * 4)
    yield "MODEL.RPN.MIN_SIZE", (0,)
    if "group" in (found.norm, found.fpn_norm, found.box.norm, found.mask and found.mask.norm):
        yield "MODEL.GROUP_NORM.DIM_PER_GP", (-1,)
        yield "MODEL.GROUP_NORM.NUM_GROUPS", (32,)
        yield "MODEL.GROUP_NORM.EPSILON", (1e-5,)
    heads = {"BOX": True, "MASK": found.mask is not None, "KEYPOINT": found.keypoints is not None}
    for head in (name for name, there in heads.items() if there and found.features in _SCALES):
        scales = _SCALES[found.features]
        yield f"MODEL.ROI_{head}_HEAD.POOLER_SCALES", (scales, tuple(scales))
        yield f"MODEL.ROI_{head}_HEAD.DILATION", (1,)
