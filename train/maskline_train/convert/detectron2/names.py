"""detectron2's names of weights, and ours.

Ref: detectron2/modeling: resnet.py, fpn.py, rpn.py, box_head.py, fast_rcnn.py, mask_head.py, keypoint_head.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_Replacement = str | Callable[[re.Match[str]], str]


def _stage(match: re.Match[str]) -> str:
    """`res2.0.` is the first block of `layer1`; on the RoIs of C4 the stage has a name of its own."""
    prefix = "res5." if match["roi"] else "backbone.body."
    return f"{prefix}layer{int(match['stage']) - 1}.{match['block']}."


def _level(match: re.Match[str]) -> str:
    """Pyramid levels are counted from 2 there, from 0 here."""
    norms = "_norms" if match["norm"] else ""
    return f"backbone.fpn.{match['kind']}{norms}.{int(match['level']) - 2}."


def _counted(head: str) -> Callable[[re.Match[str]], str]:
    """Convolutions of a head are counted from 1 there, from 0 here."""
    return lambda match: f"{head}.{'norms' if match['norm'] else 'convs'}.{int(match['index']) - 1}."


def _further(match: re.Match[str]) -> str:
    """The first of several convolutions of the RPN head has the only one's name here."""
    index = int(match["index"])
    return "rpn_head.conv." if index == 0 else f"rpn_head.more_convs.{index - 1}."


# The beginnings of names; of a block then its parts.
_BEGINNINGS: tuple[tuple[str, _Replacement], ...] = (
    (r"backbone\.(bottom_up\.)?stem\.conv1\.norm\.", "backbone.body.bn1."),
    (r"backbone\.(bottom_up\.)?stem\.conv1\.", "backbone.body.conv1."),
    (r"(?:(?P<roi>roi_heads\.)|backbone\.(?:bottom_up\.)?)res(?P<stage>[2-5])\.(?P<block>\d+)\.", _stage),
    (r"backbone\.fpn_(?P<kind>lateral|output)(?P<level>\d)\.(?P<norm>norm\.)?", _level),
    (r"proposal_generator\.rpn_head\.conv\.conv(?P<index>\d+)\.", _further),
    (r"proposal_generator\.rpn_head\.conv\.", "rpn_head.conv."),
    (r"proposal_generator\.rpn_head\.objectness_logits\.", "rpn_head.logits."),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.", "rpn_head.deltas."),
    (r"roi_heads\.box_head\.conv(?P<index>\d+)\.(?P<norm>norm\.)?", _counted("box_head")),
    (r"roi_heads\.box_head\.fc(?P<index>\d)\.norm\.", lambda match: f"box_head.fc_norms.{int(match['index']) - 1}."),
    (r"roi_heads\.box_head\.fc(\d)\.", r"box_head.fc\1."),
    (r"roi_heads\.box_predictor\.cls_score\.", "box_head.class_logits."),
    (r"roi_heads\.box_predictor\.bbox_pred\.", "box_head.box_deltas."),
    (r"roi_heads\.mask_head\.mask_fcn(?P<index>\d+)\.(?P<norm>norm\.)?", _counted("mask_head")),
    (r"roi_heads\.mask_head\.deconv\.", "mask_head.upsample."),
    (r"roi_heads\.mask_head\.predictor\.", "mask_head.mask_logits."),
    (r"roi_heads\.keypoint_head\.conv_fcn(?P<index>\d+)\.(?P<norm>norm\.)?", _counted("keypoint_head")),
    (r"roi_heads\.keypoint_head\.score_lowres\.", "keypoint_head.keypoint_logits."),
)
_PARTS = (
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
)


def renamed(name: str) -> str:
    """Our name of a weight.

    Raises:
        ValueError: a weight of no part that we know.
    """
    for pattern, replacement in _BEGINNINGS:
        ours, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return _part(ours) if ".layer" in ours else ours
    raise ValueError(f"weight {name!r}: of no part of a Mask R-CNN of detectron2 that is known")


def _part(name: str) -> str:
    for pattern, replacement in _PARTS:
        name, count = re.subn(pattern, replacement, name)
        if count:
            return name
    return name
