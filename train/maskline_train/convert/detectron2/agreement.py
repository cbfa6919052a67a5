"""Whether a config belongs to the weights, and whether all that it asks for is supported."""

from __future__ import annotations

from collections.abc import Iterator

from maskline_train.convert.detectron2.architecture import Architecture
from maskline_train.convert.detectron2.config import Values

# Settings that change answers and have one value here.
_ONLY = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.ANCHOR_GENERATOR.NAME": "DefaultAnchorGenerator",
    "MODEL.FPN.FUSE_TYPE": "sum",
    "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": False,
    "MODEL.ROI_HEADS.NAME": ("StandardROIHeads", "Res5ROIHeads"),
    "MODEL.RPN.HEAD_NAME": "StandardRPNHead",
    "TEST.AUG.ENABLED": False,
}


def check_agreement(found: Architecture, config: Values) -> None:
    """Raise where the config says another network than the weights.

    Raises:
        ValueError: naming the setting.
    """
    _check_norm(found, config)
    for name, of_weights in _settings(found):
        if name in config and config[name] != of_weights:
            raise ValueError(
                f"config: {name} is {config[name]!r}, the weights have {of_weights!r}; "
                "they belong to two networks: give the config that was written beside these weights"
            )


def _check_norm(found: Architecture, config: Values) -> None:
    norm = config.get("MODEL.RESNETS.NORM")
    if norm is not None and (norm == "GN") != (found.norm == "group"):
        raise ValueError(
            f"config: MODEL.RESNETS.NORM is {norm!r}, the weights have {'group' if found.norm == 'group' else 'batch'} "
            "norms; they belong to two networks: give the config that was written beside these weights"
        )


def _settings(found: Architecture) -> Iterator[tuple[str, object]]:
    """What the weights say of settings."""
    yield "MODEL.ROI_HEADS.NUM_CLASSES", found.num_classes
    yield "MODEL.RESNETS.DEPTH", found.body.depth
    yield "MODEL.RESNETS.STEM_OUT_CHANNELS", found.body.stem
    yield "MODEL.RESNETS.NUM_GROUPS", found.body.groups
    yield "MODEL.RESNETS.RES5_DILATION", 2 if found.features == "dc5" else 1
    yield "MODEL.MASK_ON", found.mask is not None
    yield "MODEL.KEYPOINT_ON", found.keypoints is not None
    if found.features == "fpn":
        yield "MODEL.FPN.OUT_CHANNELS", found.fpn_channels
    if found.features != "c4":
        yield "MODEL.ROI_BOX_HEAD.NUM_CONV", found.box.convs
        yield "MODEL.ROI_BOX_HEAD.NUM_FC", found.box_layers[0]
        yield "MODEL.ROI_BOX_HEAD.FC_DIM", found.box_layers[1]
    if found.num_classes > 1:
        yield "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", found.agnostic_boxes
    if found.mask is not None:
        yield "MODEL.ROI_MASK_HEAD.CONV_DIM", found.mask.channels
        if found.num_classes > 1:
            yield "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", found.mask.rows == 1
    if found.keypoints is not None:
        yield "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", found.keypoints.rows


def check_support(config: Values) -> None:
    """Raise for what our network cannot be.

    Raises:
        ValueError: naming the setting.
    """
    for name, only in _ONLY.items():
        allowed = only if isinstance(only, tuple) else (only,)
        if config.get(name, allowed[0]) not in allowed:
            raise ValueError(f"config: {name} is {config[name]!r}, supported: {', '.join(map(repr, allowed))}")
