"""A network of torchvision as ours, with what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from maskline_train.convert.check.answers import Source
from maskline_train.convert.from_torchvision import (
    BUILT_NORM_EPS,
    PUBLISHED_NORM_EPS,
    is_v2,
    load_torchvision,
    num_classes,
    num_keypoints,
    spec_of,
)
from maskline_train.convert.keypoints import keypoint_names
from maskline_train.convert.load import COUNTER
from maskline_train.convert.options import ImportOptions, with_settings
from maskline_train.convert.report import Imported, Report
from maskline_train.data import coco_things
from maskline_train.spec import ModelSpec

NO_CONFIG = (
    "sizes 800/1333, thresholds, anchors and RoIAlign are those of torchvision's constructors: its weights say none of "
    "them; change what your model changes by --set. Strides are those of its bodies, too: one that was built with "
    "replace_stride_with_dilation looks the same and is not supported"
)
# How torchvision resizes and pads its pictures, and where that puts the anchors of P6.
_AS_THERE = {
    "preprocessing.canvases": [],
    "preprocessing.canvas_multiple": 32,
    "preprocessing.resize_filter": "torch",
    "preprocessing.size_rule": "floor",
    "anchors.stride_of_cells": True,
}
_DIFFERS = ("resized pictures are rounded to whole levels of 255, torchvision keeps floats: by half a level",)


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
    report = Report()
    norm_eps = _norm_eps(tensors, options, report)
    classes, keypoints = _classes(tensors, options, report), keypoint_names(num_keypoints(tensors), options, report)
    spec = with_settings(spec_of(tensors, classes, keypoints), {**_AS_THERE, **options.settings})
    model = load_torchvision(tensors, spec, norm_eps)
    parts = ["boxes"] + ["masks"] * (model.mask_head is not None) + ["keypoints"] * (model.keypoint_head is not None)
    v2 = is_v2(tensors)
    report.found.insert(
        0,
        f"torchvision{' v2' * v2}, {spec.backbone.body_name} FPN, {len(classes)} classes, {', '.join(parts)}; "
        f"{len(tensors)} tensors",
    )
    report.assumed.append(NO_CONFIG)
    if v2:
        report.found.append(
            "batch norms of pyramid and heads are folded into their convolutions, those of the body frozen"
        )
    report.differs.extend(_DIFFERS)
    return Imported(model, report, lambda: _source(tensors, model.spec, norm_eps, options))


def _source(tensors: Mapping[str, Tensor], spec: ModelSpec, norm_eps: float, options: ImportOptions) -> Source:
    """Torchvision's own network; imported here alone, since it takes seconds."""
    from maskline_train.convert.check.torchvision_source import torchvision_source

    return torchvision_source(tensors, spec, norm_eps, options.settings)


def _norm_eps(tensors: Mapping[str, Tensor], options: ImportOptions, report: Report) -> float:
    """What the batch norms add to the variance. torchvision's frozen norms have no counters, its ordinary ones have.

    Ref: torchvision/models/detection/mask_rcnn.py and faster_rcnn.py: a network built without any weights, and every
    `_v2`, has ordinary norms, which add 1e-5; `overwrite_eps` sets the 0 of the COCO weights for frozen ones alone.
    """
    given = options.norm_eps
    if is_v2(tensors):
        if given not in (None, BUILT_NORM_EPS):
            raise ValueError(f"--norm-eps: got {given:g}, torchvision's _v2 networks add 1e-5; leave it out")
        return BUILT_NORM_EPS
    counted = f"backbone.body.bn1.{COUNTER}" in tensors
    if given is None and not counted:
        raise ValueError(
            "torchvision's weights do not say what their batch norms add to the variance, which changes answers: give "
            f"--norm-eps {PUBLISHED_NORM_EPS:g} for torchvision's COCO weights and what was fine-tuned of them, "
            f"--norm-eps {BUILT_NORM_EPS:g} for a model that was built without them"
        )
    if counted and given in (None, BUILT_NORM_EPS):
        report.found.append(f"the batch norms are ordinary ones (they have counters), which add {BUILT_NORM_EPS:g}")
    elif counted:
        report.assumed.append(
            f"--norm-eps {given:g} as you say, though the batch norms have counters ({COUNTER}): torchvision's "
            f"ordinary norms add {BUILT_NORM_EPS:g}, and its frozen ones, which may add 0, have no counters"
        )
    return BUILT_NORM_EPS if given is None else given


def _classes(tensors: Mapping[str, Tensor], options: ImportOptions, report: Report) -> tuple[str, ...]:
    """K names; COCO's ids where there is a row for each of them, and its person where there are keypoints."""
    if options.classes is not None:
        return options.classes
    found = num_classes(tensors)
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
