"""Configs as Detectron writes them into its files of weights."""

from __future__ import annotations

import struct
from base64 import b64encode
from typing import Any

import yaml
from maskline_train.spec import ModelSpec

TAG = "!!python/object/new:detectron.utils.collections.AttrDict"


def settings_of(spec: ModelSpec) -> dict[str, Any]:
    """Every setting that is read, by section, as a config that was dumped has them all."""
    pyramid = spec.backbone.features == "fpn"
    heads = {"FAST_RCNN": spec.box_head.pooled_side, "MRCNN": 14, "KRCNN": 14}
    transform = {"ROI_XFORM_METHOD": "RoIAlign", "ROI_XFORM_SAMPLING_RATIO": spec.roi_align.sampling_ratio}
    sections: dict[str, dict[str, Any]] = {
        "MODEL": {
            "BBOX_REG_WEIGHTS": list(spec.box_head.delta_weights),
            "NUM_CLASSES": spec.num_classes + 1,
            "MASK_ON": spec.mask_head is not None,
            "KEYPOINTS_ON": spec.keypoint_head is not None,
        },
        "FPN": {
            "FPN_ON": pyramid,
            "ROI_CANONICAL_LEVEL": 4,
            "ROI_CANONICAL_SCALE": 224,
            "RPN_ANCHOR_START_SIZE": 32,
            "RPN_ASPECT_RATIOS": [0.5, 1, 2],
        },
        "RPN": {"SIZES": [32, 64, 128, 256, 512], "ASPECT_RATIOS": [0.5, 1, 2]},
        "RESNETS": {"STRIDE_1X1": True, "NUM_GROUPS": 1, "WIDTH_PER_GROUP": 8},
        "TEST": {
            "SCALE": 256,
            "MAX_SIZE": 427,
            "NMS": 0.5,
            "SCORE_THRESH": 0.05,
            "DETECTIONS_PER_IM": 100,
            "RPN_NMS_THRESH": 0.7,
            "RPN_PRE_NMS_TOP_N": spec.proposals.pre_nms_per_level,
            "RPN_POST_NMS_TOP_N": 1000,
        },
        **{head: {**transform, "ROI_XFORM_RESOLUTION": side} for head, side in heads.items()},
    }
    sections["MRCNN"]["DILATION"] = 1
    sections["KRCNN"] |= {"DILATION": 1, "UP_SCALE": 2}
    return sections


def dumped(sections: dict[str, Any]) -> str:
    """The text that Detectron on Python 2 writes into its files: objects, tuples, unicode and arrays by their tags."""
    lines = [TAG, "dictitems:"]
    for section, settings in sections.items():
        lines += [f"  {section}: {TAG}", "    dictitems:"]
        for name, value in settings.items():
            tag = {list: "!!python/tuple ", str: "!!python/unicode "}.get(type(value), "")
            lines.append(f"      {name}: {tag}{yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}")
        lines.append("    state: {__immutable__: true}")
    means = b64encode(struct.pack("<3d", 102.9801, 115.9465, 122.7717)).decode()
    return "\n".join(
        [
            *lines,
            "  PIXEL_MEANS: !!python/object/apply:numpy.core.multiarray._reconstruct",
            "    args: [!!python/name:numpy.ndarray '', !!python/tuple [0], b]",
            "    state: !!python/tuple",
            "    - 1",
            "    - !!python/tuple [1, 1, 3]",
            "    - !!python/object/apply:numpy.dtype",
            "      args: [f8, 0, 1]",
            "    - false",
            f"    - !!binary {means}",
            "state: {__immutable__: true}",
        ]
    )
