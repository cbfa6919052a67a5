"""Slim networks with random weights, by detectron2's names, shapes and settings.

Letters: K foreground classes, A anchors a cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from maskline_train.convert.detectron2.config import read_config
from support.models import foreign
from torch import Tensor

CLASSES = ("a", "b", "c", "d", "e")
_C5 = {
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res5"],
    "MODEL.RESNETS.RES5_DILATION": 2,
    "MODEL.RPN.IN_FEATURES": ["res5"],
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.ROI_HEADS.IN_FEATURES": ["res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
}
_C4 = {
    **_C5,
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.RESNETS.RES5_DILATION": 1,
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
    "MODEL.ROI_BOX_HEAD.NAME": "",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
}
_CONVOLUTIONS = {"MODEL.ROI_BOX_HEAD.NUM_CONV": 4, "MODEL.ROI_BOX_HEAD.NUM_FC": 1}
_RGB = {
    "INPUT.FORMAT": "RGB",
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
}


def _norms(norm: str) -> dict[str, Any]:
    parts = ("RESNETS", "FPN", "ROI_BOX_HEAD", "ROI_MASK_HEAD")
    return {**{f"MODEL.{part}.NORM": norm for part in parts}, **_CONVOLUTIONS}


def _poolers(kind: str, sampling: int) -> dict[str, Any]:
    values = {"TYPE": kind, "SAMPLING_RATIO": sampling}
    return {f"MODEL.ROI_{head}_HEAD.POOLER_{name}": values[name] for head in ("BOX", "MASK") for name in values}


# What each changes in the config of `tests/foreign/detectron2/mask_fpn_bgr`.
VARIANTS: dict[str, dict[str, Any]] = {
    "rgb": _RGB,
    "dc5": _C5,
    "dc5, stride in 3x3": {**_C5, "MODEL.RESNETS.STRIDE_IN_1X1": False},
    "resnext": {
        "MODEL.RESNETS.NUM_GROUPS": 4,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 4,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.PIXEL_STD": [57.375, 57.12, 58.395],
    },
    "gn": {
        **_norms("GN"),
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 32,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 128,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 32,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
    },
    "agnostic": {"MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True, "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": True},
    "boxes alone": {"MODEL.MASK_ON": False},
    "boxes alone, c4": {**_C4, "MODEL.MASK_ON": False},
    "syncbn": {**_norms("SyncBN"), "MODEL.RPN.CONV_DIMS": [-1, -1]},
    "as Detectron": _poolers("ROIAlign", 2),
    "other weights of deltas, one list of ratios": {
        "MODEL.RPN.BBOX_REG_WEIGHTS": [2.0, 2.0, 1.0, 1.0],
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": [20.0, 20.0, 10.0, 10.0],
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 2.0]],
    },
}


def settings(variant: str) -> dict[str, Any]:
    """Every setting by its full name."""
    config = read_config(foreign.FOLDER / "detectron2" / "mask_fpn_bgr" / "config.yaml")
    return config | VARIANTS[variant]


def nested(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by section, as a file has them."""
    content: dict[str, Any] = {}
    for name, value in config.items():
        *sections, last = name.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return content


def weights(config: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """A state dict."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _values(name, shape, generator) / (_spread(config) if "stem.conv1.weight" in name else 1)
        for name, shape in _shapes(config)
    }


def _spread(config: Mapping[str, Any]) -> float:
    """Of the pixels: the first convolution's answers are as large as the others', whatever the config divides by."""
    return 58.0 / max(config["MODEL.PIXEL_STD"])


# Of layers that answer: boxes that hardly reach a picture's edge, scores that do not come near 1, masks with holes;
# and of the layer that adds up a body's stages.
_SPREADS = {
    "rpn_head.anchor_deltas": 0.1,
    "box_predictor.bbox_pred": 0.5,
    "mask_head.predictor": 3.0,
    "backbone.fpn_lateral": 0.3,
}
_BIASES = 0.2
_BACKGROUND = 3.0  # its logit is higher by so much: not every proposal is an object


def _values(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Layers keep the spread of what they read, norms and biases move it a little; residual branches are small."""
    values = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        spread = next((spread for part, spread in _SPREADS.items() if part in name), math.sqrt(2))
        return values * spread / math.sqrt(math.prod(shape[1:]))
    if name.endswith("running_var"):
        return 1 + 0.3 * values.abs()
    if name.endswith("norm.weight"):
        return (0.3 if ".conv3." in name else 1.0) * (1 + 0.2 * values)
    if name.endswith("cls_score.bias"):
        values[-1] += _BACKGROUND / _BIASES
    return _BIASES * values


def _shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    pyramid = config["MODEL.BACKBONE.NAME"] == "build_resnet_fpn_backbone"
    c4 = config["MODEL.ROI_HEADS.NAME"] == "Res5ROIHeads"
    body, norm = "backbone.bottom_up." if pyramid else "backbone.", config["MODEL.RESNETS.NORM"]
    yield from _conv(f"{body}stem.conv1", 3, config["MODEL.RESNETS.STEM_OUT_CHANNELS"], 7, norm)
    for stage in (2, 3, 4, 5):
        yield from _stage("roi_heads." if c4 and stage == 5 else body, stage, config)
    widest = config["MODEL.RESNETS.RES2_OUT_CHANNELS"]
    channels = config["MODEL.FPN.OUT_CHANNELS"] if pyramid else widest * (4 if c4 else 8)
    for stage in (2, 3, 4, 5) if pyramid else ():
        inputs, norm = widest * 2 ** (stage - 2), config["MODEL.FPN.NORM"]
        yield from _conv(f"backbone.fpn_lateral{stage}", inputs, channels, 1, norm, not norm)
        yield from _conv(f"backbone.fpn_output{stage}", channels, channels, 3, norm, not norm)
    yield from _rpn(config, channels)
    yield from _box_head(config, widest * 8 if c4 else channels, c4)
    if config["MODEL.MASK_ON"]:
        yield from _mask_head(config, channels)


def _conv(
    name: str, inputs: int, outputs: int, side: int, norm: str = "", bias: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs, side, side)
    if bias:
        yield f"{name}.bias", (outputs,)
    for part in ("weight", "bias", *(("running_mean", "running_var") if norm != "GN" else ())) if norm else ():
        yield f"{name}.norm.{part}", (outputs,)


def _stage(before: str, stage: int, config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    norm, groups = config["MODEL.RESNETS.NORM"], config["MODEL.RESNETS.NUM_GROUPS"]
    outputs = config["MODEL.RESNETS.RES2_OUT_CHANNELS"] * 2 ** (stage - 2)
    width = groups * config["MODEL.RESNETS.WIDTH_PER_GROUP"] * 2 ** (stage - 2)
    inputs = config["MODEL.RESNETS.STEM_OUT_CHANNELS"] if stage == 2 else outputs // 2
    for block in range((3, 4, 6, 3)[stage - 2]):
        name = f"{before}res{stage}.{block}"
        if block == 0:
            yield from _conv(f"{name}.shortcut", inputs, outputs, 1, norm)
        yield from _conv(f"{name}.conv1", outputs if block else inputs, width, 1, norm)
        yield from _conv(f"{name}.conv2", width // groups, width, 3, norm)
        yield from _conv(f"{name}.conv3", width, outputs, 1, norm)


def _rpn(config: Mapping[str, Any], channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    head, count = "proposal_generator.rpn_head.", len(config["MODEL.RPN.CONV_DIMS"])
    for name in ["conv"] if count == 1 else [f"conv.conv{number}" for number in range(count)]:
        yield from _conv(head + name, channels, channels, 3, bias=True)
    generator = "MODEL.ANCHOR_GENERATOR."
    anchors = len(config[f"{generator}SIZES"][0]) * len(config[f"{generator}ASPECT_RATIOS"][0])
    yield from _conv(f"{head}objectness_logits", channels, anchors, 1, bias=True)
    yield from _conv(f"{head}anchor_deltas", channels, 4 * anchors, 1, bias=True)


def _box_head(config: Mapping[str, Any], channels: int, c4: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    section, head = "MODEL.ROI_BOX_HEAD.", "roi_heads.box_head."
    inputs = channels
    for number in range(0 if c4 else config[f"{section}NUM_CONV"]):
        outputs, norm = config[f"{section}CONV_DIM"], config[f"{section}NORM"]
        yield from _conv(f"{head}conv{number + 1}", inputs, outputs, 3, norm, not norm)
        inputs = outputs
    inputs *= 1 if c4 else config[f"{section}POOLER_RESOLUTION"] ** 2
    for number in range(0 if c4 else config[f"{section}NUM_FC"]):
        yield from _linear(f"{head}fc{number + 1}", inputs, config[f"{section}FC_DIM"])
        inputs = config[f"{section}FC_DIM"]
    count = config["MODEL.ROI_HEADS.NUM_CLASSES"]
    yield from _linear("roi_heads.box_predictor.cls_score", inputs, count + 1)
    yield from _linear(
        "roi_heads.box_predictor.bbox_pred", inputs, 4 if config[f"{section}CLS_AGNOSTIC_BBOX_REG"] else 4 * count
    )


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _mask_head(config: Mapping[str, Any], channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    section, head = "MODEL.ROI_MASK_HEAD.", "roi_heads.mask_head."
    width, norm = config[f"{section}CONV_DIM"], config[f"{section}NORM"]
    for number in range(config[f"{section}NUM_CONV"]):
        yield from _conv(f"{head}mask_fcn{number + 1}", width if number else channels, width, 3, norm, not norm)
    yield f"{head}deconv.weight", (width, width, 2, 2)
    yield f"{head}deconv.bias", (width,)
    count = 1 if config[f"{section}CLS_AGNOSTIC_MASK"] else config["MODEL.ROI_HEADS.NUM_CLASSES"]
    yield from _conv(f"{head}predictor", width, count, 1, bias=True)
