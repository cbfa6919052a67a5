"""Detectron's config: what is read of it, its defaults, and whether it belongs to the weights.

Ref: detectron/core/config.py for names and defaults; configs/12_2017_baselines/e2e_mask_rcnn_R-50-{FPN,C4}_1x.yaml.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from maskline_train.convert.architecture import Architecture, Features
from maskline_train.convert.detectron2.config import Values
from maskline_train.convert.disagreement import check_agreement, check_support

MEANS = [102.9801, 115.9465, 122.7717]
# What is read. A config of a run says what differs from these; that in a file of weights says all.
DEFAULTS: dict[str, Any] = {
    "FAST_RCNN.ROI_XFORM_METHOD": "RoIPoolF",
    "FAST_RCNN.ROI_XFORM_RESOLUTION": 14,
    "FAST_RCNN.ROI_XFORM_SAMPLING_RATIO": 0,
    "FPN.ROI_CANONICAL_LEVEL": 4,
    "FPN.ROI_CANONICAL_SCALE": 224,
    "FPN.RPN_ANCHOR_START_SIZE": 32,
    "FPN.RPN_ASPECT_RATIOS": [0.5, 1.0, 2.0],
    "KRCNN.DILATION": 1,
    "KRCNN.ROI_XFORM_METHOD": "RoIAlign",
    "KRCNN.ROI_XFORM_RESOLUTION": 7,
    "KRCNN.ROI_XFORM_SAMPLING_RATIO": 0,
    "KRCNN.UP_SCALE": -1,
    "MODEL.BBOX_REG_WEIGHTS": [10.0, 10.0, 5.0, 5.0],
    "MRCNN.DILATION": 2,
    "MRCNN.ROI_XFORM_METHOD": "RoIAlign",
    "MRCNN.ROI_XFORM_RESOLUTION": 7,
    "MRCNN.ROI_XFORM_SAMPLING_RATIO": 0,
    "RESNETS.STRIDE_1X1": True,
    "RPN.ASPECT_RATIOS": [0.5, 1.0, 2.0],
    "RPN.SIZES": [64, 128, 256, 512],
    "TEST.DETECTIONS_PER_IM": 100,
    "TEST.MAX_SIZE": 1000,
    "TEST.NMS": 0.3,
    "TEST.RPN_NMS_THRESH": 0.7,
    "TEST.RPN_POST_NMS_TOP_N": 2000,
    "TEST.RPN_PRE_NMS_TOP_N": 12000,
    "TEST.SCALE": 600,
    "TEST.SCORE_THRESH": 0.05,
}
LISTS = ("FPN.RPN_ASPECT_RATIOS", "RPN.ASPECT_RATIOS", "RPN.SIZES")
# What the published configs change of it, both kinds, then those with a pyramid.
_ZOO: dict[str, Any] = {
    "FAST_RCNN.ROI_XFORM_METHOD": "RoIAlign",
    "KRCNN.ROI_XFORM_RESOLUTION": 14,
    "KRCNN.UP_SCALE": 2,
    "MRCNN.DILATION": 1,
    "MRCNN.ROI_XFORM_RESOLUTION": 14,
    "RPN.SIZES": [32, 64, 128, 256, 512],
    "TEST.MAX_SIZE": 1333,
    "TEST.NMS": 0.5,
    "TEST.RPN_POST_NMS_TOP_N": 1000,
    "TEST.RPN_PRE_NMS_TOP_N": 6000,
    "TEST.SCALE": 800,
}
_ZOO_FPN: dict[str, Any] = {
    "FAST_RCNN.ROI_XFORM_RESOLUTION": 7,
    **{f"{head}.ROI_XFORM_SAMPLING_RATIO": 2 for head in ("FAST_RCNN", "KRCNN", "MRCNN")},
    "TEST.RPN_PRE_NMS_TOP_N": 1000,
}
_THREE_DOUBLES = 24  # bytes


def zoo_values(features: Features) -> dict[str, Any]:
    """What the published configs with these features say of inference."""
    return {**DEFAULTS, **_ZOO, **(_ZOO_FPN if features == "fpn" else {})}


def pixel_means(config: Values) -> list[float] | None:
    """The means, BGR: numbers in lists, or a numpy array as `yaml.dump` writes it; None where they cannot be read."""
    said = config.get("PIXEL_MEANS")
    while isinstance(said, list) and len(said) == 1:
        said = said[0]
    if isinstance(said, list) and len(said) == len(MEANS) and all(isinstance(value, int | float) for value in said):
        return [float(value) for value in said]
    state = config.get("PIXEL_MEANS.state")
    data = state[-1] if isinstance(state, list) and state else None
    if isinstance(data, bytes) and len(data) == _THREE_DOUBLES:
        return list(struct.unpack("<3d", data))
    return None


def with_one_scale(given: Values) -> Values:
    """A config with `TEST.SCALE`, which was a list, `TEST.SCALES`, before the code was published."""
    scales = given.get("TEST.SCALES")
    if "TEST.SCALE" in given or not isinstance(scales, list) or len(scales) != 1:
        return given
    return {**given, "TEST.SCALE": scales[0]}


def check_config(found: Architecture, given: Values, config: Values) -> None:
    """Raise where a config says another network than the weights, or one that is not supported.

    Args:
        found: by the weights.
        given: what a config says.
        config: that and everything else that is read.

    Raises:
        ValueError: naming the setting.
    """
    check_agreement(given, _of_weights(found), "give the config that these weights were trained by")
    check_support(config, _supported(found))


def _of_weights(found: Architecture) -> Iterator[tuple[str, object]]:
    """What the weights say of settings."""
    yield "MODEL.NUM_CLASSES", found.num_classes + 1
    yield "MODEL.MASK_ON", found.mask is not None
    yield "MODEL.KEYPOINTS_ON", found.keypoints is not None
    yield "RESNETS.NUM_GROUPS", found.body.groups
    yield "RESNETS.WIDTH_PER_GROUP", found.body.width // found.body.groups
    yield "FPN.FPN_ON", found.features == "fpn"
    if found.num_classes > 1:
        yield "MODEL.CLS_AGNOSTIC_BBOX_REG", found.agnostic_boxes
        if found.mask is not None:
            yield "MRCNN.CLS_SPECIFIC_MASK", found.mask.rows > 1
    if found.keypoints is not None:
        yield "KRCNN.NUM_KEYPOINTS", found.keypoints.rows


def _supported(found: Architecture) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Settings that change answers and have one value here; the weights do not say them."""
    for name in ("MODEL.RPN_ONLY", "MODEL.TRACKING_ON", "FPN.EXTRA_CONV_LEVELS", "MRCNN.USE_FC_OUTPUT"):
        yield name, (False,)
    for name in ("SOFT_NMS", "BBOX_VOTE", "BBOX_AUG", "MASK_AUG", "KPS_AUG"):
        yield f"TEST.{name}.ENABLED", (False,)
    yield "TEST.BBOX_REG", (True,)
    yield "TEST.RPN_MIN_SIZE", (0,)
    yield "RESNETS.RES5_DILATION", (1,)
    if found.features == "fpn":
        yield "FPN.RPN_MIN_LEVEL", (2,)
        yield "FPN.RPN_MAX_LEVEL", (6,)
        yield "FPN.ROI_MIN_LEVEL", (2,)
        yield "FPN.ROI_MAX_LEVEL", (5,)
        yield "FPN.COARSEST_STRIDE", (32,)
    else:
        yield "RPN.STRIDE", (16,)
        yield "FAST_RCNN.ROI_XFORM_RESOLUTION", (14,)  # of which the fifth stage makes 7
    if found.features == "c4" and found.mask is not None:
        yield "MRCNN.ROI_XFORM_RESOLUTION", (14,)
    if found.mask is not None:
        yield "MRCNN.DILATION", (1,)
        yield "MRCNN.UPSAMPLE_RATIO", (1,)
        yield "MRCNN.THRESH_BINARIZE", (0.5,)
    if found.keypoints is not None:
        yield "KRCNN.DILATION", (1,)
        yield "KRCNN.USE_DECONV", (False,)
        yield "KRCNN.USE_DECONV_OUTPUT", (True,)
        yield "KRCNN.UP_SCALE", (2,)
    if "group" in (found.norm, found.fpn_norm, found.box.norm, found.mask and found.mask.norm):
        yield "GROUP_NORM.DIM_PER_GP", (-1,)
        yield "GROUP_NORM.NUM_GROUPS", (32,)
        yield "GROUP_NORM.EPSILON", (1e-5,)
