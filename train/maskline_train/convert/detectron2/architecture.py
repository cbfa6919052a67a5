"""What detectron2's weights say of the network by their names and shapes alone.

Letters: K foreground classes, J keypoints, A anchors a cell, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from maskline_train.convert.architecture import Architecture, Branch, Features, Norm
from maskline_train.convert.body import Shapes, read_body, shape_of

_RPN = "proposal_generator.rpn_head."


def read_architecture(tensors: Mapping[str, Tensor]) -> Architecture:
    """The architecture of a state dict whose names are detectron2's.

    Raises:
        ValueError: a part is missing, or the body is none that is known.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    features = _features(shapes)
    body = "backbone.bottom_up." if features == "fpn" else "backbone."
    classes = shape_of(shapes, "roi_heads.box_predictor.cls_score.weight")[0] - 1
    if classes < 1:
        raise ValueError("weight roi_heads.box_predictor.cls_score.weight: got one row, expected K + 1")
    deltas = shape_of(shapes, "roi_heads.box_predictor.bbox_pred.weight")[0]
    if deltas not in (4, 4 * classes):
        raise ValueError(
            f"weight roi_heads.box_predictor.bbox_pred.weight: got {deltas} rows, expected {4 * classes} for {classes} "
            "classes, or 4 for all"
        )
    return Architecture(
        features=features,
        body=read_body(shapes, f"{body}stem.conv1.weight", _stages(body, features)),
        norm=_norm(shapes, f"{body}res2.0.conv1."),
        counts_batches=f"{body}res2.0.conv1.norm.num_batches_tracked" in shapes,
        fpn_channels=shape_of(shapes, "backbone.fpn_output2.weight")[0] if features == "fpn" else 0,
        fpn_norm=_norm(shapes, "backbone.fpn_output2."),
        rpn_convs=max(1, _count(shapes, rf"{_RPN}conv\.conv(\d+)\.weight")),
        rpn_channels=shape_of(shapes, f"{_RPN}objectness_logits.weight", 4)[1],
        anchors=shape_of(shapes, f"{_RPN}objectness_logits.weight")[0],
        num_classes=classes,
        agnostic_boxes=deltas == 4 != 4 * classes,
        box=_branch(shapes, "roi_heads.box_head.", "conv", "roi_heads.box_predictor.cls_score.weight"),
        box_layers=_box_layers(shapes),
        box_layer_norm=_norm(shapes, "roi_heads.box_head.fc1."),
        mask=_optional(shapes, "roi_heads.mask_head.", "mask_fcn", "predictor.weight"),
        keypoints=_optional(shapes, "roi_heads.keypoint_head.", "conv_fcn", "score_lowres.bias"),
    )


def _features(shapes: Shapes) -> Features:
    if any(name.startswith("backbone.bottom_up.") for name in shapes):
        return "fpn"
    return "c4" if any(name.startswith("roi_heads.res5.") for name in shapes) else "dc5"


def _stages(body: str, features: Features) -> list[str]:
    """What the blocks of each stage begin with; C4 runs the fifth on RoIs."""
    return [f"{body}res{stage}." for stage in (2, 3, 4)] + ["roi_heads.res5." if features == "c4" else f"{body}res5."]


def _norm(shapes: Shapes, conv: str) -> Norm:
    if f"{conv}norm.running_var" in shapes:
        return "batch"
    return "group" if f"{conv}norm.weight" in shapes else ""


def _optional(shapes: Shapes, head: str, conv: str, last: str) -> Branch | None:
    return _branch(shapes, head, conv, head + last) if any(name.startswith(head) for name in shapes) else None


def _branch(shapes: Shapes, head: str, conv: str, last: str) -> Branch:
    convs = _count(shapes, rf"{re.escape(head)}{conv}(\d+)\.weight")
    width = shapes.get(f"{head}{conv}1.weight", (0,))[0] or shapes.get(f"{head}deconv.bias", (0,))[0]
    return Branch(convs, width, _norm(shapes, f"{head}{conv}1."), shape_of(shapes, last)[0])


def _box_layers(shapes: Shapes) -> tuple[int, int]:
    layers = _count(shapes, r"roi_heads\.box_head\.fc(\d+)\.weight")
    return layers, shape_of(shapes, "roi_heads.box_head.fc1.weight")[0] if layers else 0


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)
