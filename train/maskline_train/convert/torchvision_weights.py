"""A network of torchvision as ours, with what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from maskline_train.convert.from_torchvision import (
    BUILT_NORM_EPS,
    PUBLISHED_NORM_EPS,
    body_of,
    is_v2,
    load_torchvision,
    spec_of,
)
from maskline_train.convert.options import ImportOptions, with_settings
from maskline_train.convert.report import Imported, Report
from maskline_train.data import coco_things

_NO_CONFIG = (
    "sizes 800/1333, thresholds, anchors and RoIAlign are those of torchvision's constructors: its weights say none of "
    "them; change what your model changes by --set"
)
# How torchvision pads its pictures, and where that puts the anchors of P6.
_AS_THERE = {"preprocessing.canvases": [], "preprocessing.canvas_multiple": 32, "anchors.stride_of_cells": True}
_DIFFERS = (
    "pictures are resized by Pillow's antialiased filter, torchvision's is not antialiased: pictures that are shrunk "
    "differ by some levels of 255",
    "sides are rounded, torchvision cuts them off: by a pixel on half of all sizes",
)


def import_from_torchvision(tensors: Mapping[str, Tensor], options: ImportOptions) -> Imported:
    """A model that computes what torchvision's does with these weights.

    Args:
        tensors: a state dict of `maskrcnn_`, `fasterrcnn_` or `keypointrcnn_resnet50_fpn`, or of a `_v2`, without
            common prefixes.
        options: class names and the epsilon of batch norms, which no weights tell.

    Raises:
        ValueError: something that matters is not known, or a network that is not supported.
    """
    for name, value in (
        ("--config", options.config),
        ("--channels", options.channels),
        ("--zoo-settings", options.zoo),
    ):
        if value:
            raise ValueError(f"{name}: torchvision's networks have none of that; leave it out")
    v2 = is_v2(tensors)
    norm_eps = BUILT_NORM_EPS if v2 else options.norm_eps
    if norm_eps is None:
        raise ValueError(
            "torchvision's weights do not say what their batch norms add to the variance, which changes answers: give "
            f"--norm-eps {PUBLISHED_NORM_EPS:g} for torchvision's COCO weights and what was fine-tuned of them, "
            f"--norm-eps {BUILT_NORM_EPS:g} for a model that was built without them"
        )
    report = Report()
    classes = _classes(tensors, options, report)
    spec = with_settings(spec_of(tensors, classes), {**_AS_THERE, **options.settings})
    model = load_torchvision(tensors, spec, norm_eps)
    parts = ["boxes"] + ["masks"] * (model.mask_head is not None) + ["keypoints"] * (model.keypoint_head is not None)
    network = "torchvision v2" if v2 else "torchvision"
    report.found.append(
        f"{network}, {body_of(tensors)} FPN, {len(classes)} classes, {', '.join(parts)}; {len(tensors)} tensors"
    )
    report.assumed.append(_NO_CONFIG)
    if v2:
        report.found.append(
            "batch norms of pyramid and heads are folded into their convolutions, those of the body frozen"
        )
    report.differs.extend(_DIFFERS)
    return Imported(model, report)


def _classes(tensors: Mapping[str, Tensor], options: ImportOptions, report: Report) -> tuple[str, ...]:
    """K names; COCO's ids where there is a row for each of them, and its person where there are keypoints."""
    if options.classes is not None:
        return options.classes
    found = len(tensors["roi_heads.box_predictor.cls_score.bias"]) - 1
    if found == len(coco_things.NAMES_BY_ID):
        report.assumed.append(f"the {found} classes are COCO's ids 1 to {found}, unused ones too")
        return coco_things.NAMES_BY_ID
    if found == 1 and any(name.startswith("roi_heads.keypoint_") for name in tensors):
        report.assumed.append("the one class is COCO's person")
        return coco_things.NAMES[:1]
    raise ValueError(
        f"class names: the weights have {found} classes and no names; give them by --classes a,b,c or --classes FILE "
        "with one a line, in the order of the labels 1, 2, ..."
    )
