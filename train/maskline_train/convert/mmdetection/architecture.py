"""What the weights of mmdetection, under our names already, say of the network by their names and shapes alone.

Letters: K foreground classes, A anchors a cell, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from maskline_train.convert.architecture import Architecture, Branch, Features, Norm
from maskline_train.convert.body import Shapes, read_body, shape_of

_BODY = "backbone.body."


def read_architecture(tensors: Mapping[str, Tensor]) -> Architecture:
    """The architecture of a state dict that has our names, with its norms; there are no keypoints.

    Raises:
        ValueError: a part is missing, or the body is none that is known.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    features = _features(shapes)
    last = "res5.layer4." if features == "c4" else f"{_BODY}layer4."
    classes = shape_of(shapes, "box_head.class_logits.weight", 2)[0] - 1
    deltas = shape_of(shapes, "box_head.box_deltas.weight", 2)[0]
    if classes < 1 or deltas not in (4, 4 * classes):
        raise ValueError(
            f"weights roi_head.bbox_head.fc_cls, fc_reg: got {classes + 1} and {deltas} rows, expected K + 1 and 4K, "
            "or 4 for all classes"
        )
    fcs = _count(shapes, r"box_head\.fc\d+\.weight")
    return Architecture(
        features=features,
        body=read_body(shapes, f"{_BODY}conv1.weight", [*(f"{_BODY}layer{stage}." for stage in (1, 2, 3)), last]),
        norm=_norm(shapes, f"{_BODY}bn1."),
        counts_batches=f"{_BODY}bn1.num_batches_tracked" in shapes,
        fpn_channels=shape_of(shapes, "backbone.fpn.output.0.weight", 4)[0] if features == "fpn" else 0,
        fpn_norm=_norm(shapes, "backbone.fpn.output_norms.0."),
        rpn_convs=1 + _count(shapes, r"rpn_head\.more_convs\.\d\.weight"),
        rpn_channels=shape_of(shapes, "rpn_head.logits.weight", 4)[1],
        anchors=shape_of(shapes, "rpn_head.logits.weight")[0],
        num_classes=classes,
        agnostic_boxes=deltas == 4 != 4 * classes,
        box=_branch(shapes, "box_head", "class_logits"),
        box_layers=(fcs, shape_of(shapes, "box_head.fc1.weight")[0] if fcs else 0),
        box_layer_norm="",
        mask=_branch(shapes, "mask_head", "mask_logits") if "mask_head.mask_logits.weight" in shapes else None,
        keypoints=None,
    )


def _features(shapes: Shapes) -> Features:
    if any(name.startswith("backbone.fpn.") for name in shapes):
        return "fpn"
    return "c4" if any(name.startswith("res5.") for name in shapes) else "dc5"


def _norm(shapes: Shapes, norm: str) -> Norm:
    if f"{norm}running_var" in shapes:
        return "batch"
    return "group" if f"{norm}weight" in shapes else ""


def _branch(shapes: Shapes, head: str, last: str) -> Branch:
    convs = _count(shapes, rf"{head}\.convs\.\d+\.weight")
    width = shapes.get(f"{head}.convs.0.weight", (0,))[0] or shapes.get(f"{head}.upsample.bias", (0,))[0]
    return Branch(convs, width, _norm(shapes, f"{head}.norms.0."), shape_of(shapes, f"{head}.{last}.weight")[0])


def _count(shapes: Shapes, pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in shapes)
