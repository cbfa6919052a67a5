"""Detectron's names of blobs as detectron2's names of weights, by which the rest of the import goes.

Ref: detectron/modeling (ResNet.py, FPN.py, rpn_heads.py, fast_rcnn_heads.py, mask_rcnn_heads.py,
keypoint_rcnn_heads.py) for the blobs; detectron2/checkpoint/c2_model_loading.py for what they are there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_BLOB = re.compile(r"(?P<part>.+?)(?P<norm>_[bg]n)?_(?P<kind>[wbs])")
_KINDS = {"w": "weight", "b": "bias", "s": "weight"}
# Beside the network: the optimizer's, an ImageNet classifier's, and the filter that enlarges heatmaps bilinearly.
_UNUSED = re.compile(r".*_momentum|fc1000_[wb]|conv1_b|kps_score_[wb]")
_PARTS = (
    (r"(res_)?conv1", "{body}stem.conv1"),
    (r"res(?P<stage>[2-5])_(?P<block>\d+)_branch1", "{stage_of_body}.{block}.shortcut"),
    (r"res(?P<stage>[2-5])_(?P<block>\d+)_branch2(?P<letter>[abc])", "{stage_of_body}.{block}.conv{number}"),
    (r"fpn_inner_res(?P<stage>[2-5])_\d+_sum(_lateral)?", "backbone.fpn_lateral{stage}"),
    (r"fpn_res(?P<stage>[2-5])_\d+_sum", "backbone.fpn_output{stage}"),
    (r"conv_rpn(_fpn2)?", "proposal_generator.rpn_head.conv"),
    (r"rpn_cls_logits(_fpn2)?", "proposal_generator.rpn_head.objectness_logits"),
    (r"rpn_bbox_pred(_fpn2)?", "proposal_generator.rpn_head.anchor_deltas"),
    (r"head_conv(?P<index>\d+)", "roi_heads.box_head.conv{index}"),
    (r"fc6", "roi_heads.box_head.fc1"),
    (r"fc7", "roi_heads.box_head.fc2"),
    (r"(?P<name>cls_score|bbox_pred)", "roi_heads.box_predictor.{name}"),
    (r"_\[mask\]_fcn(?P<index>\d+)", "roi_heads.mask_head.mask_fcn{index}"),
    (r"conv5_mask", "roi_heads.mask_head.deconv"),
    (r"mask_fcn_logits", "roi_heads.mask_head.predictor"),
    (r"conv_fcn(?P<index>\d+)", "roi_heads.keypoint_head.conv_fcn{index}"),
    (r"kps_score_lowres", "roi_heads.keypoint_head.score_lowres"),
)


def is_unused(blob: str) -> bool:
    """Whether no network of Detectron reads it at inference, or what it says is known."""
    return _UNUSED.fullmatch(blob) is not None


def renamed(blobs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The blobs that are used, by detectron2's names.

    Raises:
        ValueError: a blob of no part that is known.
    """
    fpn = any(name.startswith("fpn_inner_") for name in blobs)
    return {_renamed(name, fpn): tensor for name, tensor in blobs.items() if not is_unused(name)}


def _renamed(name: str, fpn: bool) -> str:
    blob = _BLOB.fullmatch(name)
    for pattern, theirs in _PARTS if blob is not None else ():
        if blob is not None and (found := re.fullmatch(pattern, blob["part"])):
            part = theirs.format_map(_fields(found.groupdict(), fpn))
            return f"{part}.{'norm.' if blob['norm'] else ''}{_KINDS[blob['kind']]}"
    raise ValueError(f"blob {name!r}: of no part of a Mask R-CNN of Detectron that is known")


def _fields(found: Mapping[str, str], fpn: bool) -> dict[str, str]:
    """What a name of detectron2 is made of; without a pyramid the fifth stage runs on RoIs."""
    body = "backbone.bottom_up." if fpn else "backbone."
    stage = found.get("stage", "")
    on_rois = stage == "5" and not fpn
    return {
        **found,
        "body": body,
        "stage_of_body": f"{'roi_heads.' if on_rois else body}res{stage}",
        "number": str("abc".find(found.get("letter", "")) + 1),
    }
