"""A network of torchvision as ours, with what there is to say of it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from maskline_train.convert.from_torchvision import BUILT_NORM_EPS, PUBLISHED_NORM_EPS, import_torchvision
from maskline_train.convert.options import ImportOptions
from maskline_train.convert.report import Imported, Report
from maskline_train.data import coco_things

_NO_CONFIG = (
    "sizes 800/1333, thresholds, anchors and RoIAlign are those of torchvision's constructors: its weights say none of "
    "them; change what your model changes by --set"
)
_DIFFERS = (
    "pictures are resized by Pillow's antialiased filter, torchvision's is not antialiased: pictures that are shrunk "
    "differ by some levels of 255",
    "sides are rounded, torchvision cuts them off: by a pixel on half of all sizes",
    "P6's anchors lie 64 px apart, torchvision's canvas // cells, 58 to 64",
    "masks are pasted at pixel centres, torchvision rounds their boxes to whole pixels: by a pixel along the border",
)
_TWO_CONVOLUTIONS = "rpn.head.conv.1.0.weight"


def import_from_torchvision(tensors: Mapping[str, Tensor], options: ImportOptions) -> Imported:
    """A model that computes what torchvision's does with these weights.

    Args:
        tensors: a state dict of `maskrcnn_`, `fasterrcnn_` or `keypointrcnn_resnet50_fpn`, without common prefixes.
        options: class names and the epsilon of batch norms, which no weights tell.

    Raises:
        ValueError: something that matters is not known, or a network that is not supported.
    """
    if _TWO_CONVOLUTIONS in tensors:
        raise ValueError("got a `_v2` network of torchvision, expected one of the first; `_v2` is not supported yet")
    for name, value in (
        ("--config", options.config),
        ("--channels", options.channels),
        ("--zoo-settings", options.zoo),
    ):
        if value:
            raise ValueError(f"{name}: torchvision's networks have none of that; leave it out")
    if options.norm_eps is None:
        raise ValueError(
            "torchvision's weights do not say what their batch norms add to the variance, which changes answers: give "
            f"--norm-eps {PUBLISHED_NORM_EPS:g} for torchvision's COCO weights and what was fine-tuned of them, "
            f"--norm-eps {BUILT_NORM_EPS:g} for a model that was built without them"
        )
    report = Report()
    classes = _classes(tensors, options, report)
    model = import_torchvision(tensors, classes, options.norm_eps)
    parts = ["boxes"] + ["masks"] * (model.mask_head is not None) + ["keypoints"] * (model.keypoint_head is not None)
    report.found.append(
        f"torchvision, ResNet-50 FPN, {len(classes)} classes, {', '.join(parts)}; {len(tensors)} tensors"
    )
    report.assumed.append(_NO_CONFIG)
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
