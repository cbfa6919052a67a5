"""What the imports of Detectron and of maskrcnn-benchmark have in common: norms, names of classes, the model itself.

Letters: K foreground classes, J keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.detectron2.weights import to_weights
from maskline_train.convert.fold import check_variance
from maskline_train.convert.load import model_of
from maskline_train.convert.options import ChannelOrder, ImportOptions, with_settings
from maskline_train.convert.report import Imported, Report
from maskline_train.data import coco_things
from maskline_train.model.backbone.norms import FrozenBatchNorm
from maskline_train.spec import ModelSpec

_NO_WEIGHTS = {"MODEL.RPN.BBOX_REG_WEIGHTS": [1.0] * 4}  # the RPN's deltas have none here


def without_epsilon(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights whose batch norms compute what they would if they added nothing to the variance; ours add 1e-5.

    Raises:
        ValueError: a variance of nothing or less.
    """
    changed = dict(tensors)
    for name, variance in tensors.items():
        gain = name.removesuffix("running_var") + "weight"
        if name.endswith("running_var") and gain in tensors:
            check_variance(name, variance, 0.0)
            exact = variance.double()
            changed[gain] = (tensors[gain] * torch.sqrt((exact + FrozenBatchNorm.eps) / exact)).float()
    return changed


def with_statistics(tensors: Mapping[str, Tensor], exact: bool) -> dict[str, Tensor]:
    """The weights with a mean of 0 and a variance of 1 for each scale and shift of the body.

    Args:
        tensors: by detectron2's names, batch norms without statistics: y = s x + b.
        exact: True: what ours add to the variance changes nothing; False: it does, as where detectron2 reads such a
            file (`FrozenBatchNorm2d`, detectron2/layers/batch_norm.py): all is smaller by 5e-6.
    """
    changed = dict(tensors)
    for name, gain in tensors.items():
        if name.endswith(".norm.weight"):
            norm = name.removesuffix("weight")
            changed[name] = gain * math.sqrt(1 + FrozenBatchNorm.eps) if exact else gain
            changed[f"{norm}running_mean"], changed[f"{norm}running_var"] = (
                torch.zeros_like(gain),
                torch.ones_like(gain),
            )
    return changed


def class_names(
    found: Architecture, options: ImportOptions, trained_on: Sequence[object], report: Report
) -> tuple[str, ...]:
    """K names; COCO's own where the config trains on it.

    Raises:
        ValueError: no names, or not as many as the weights have classes.
    """
    count = found.num_classes
    given = options.classes_of(count)
    if given is not None:
        return given
    known = {len(coco_things.NAMES): coco_things.NAMES, 1: coco_things.NAMES[:1]}.get(count)
    on_coco = len(trained_on) > 0 and all("coco" in str(name).split("_") for name in trained_on)
    if known is None or not on_coco or (count == 1 and found.keypoints is None):
        raise ValueError(
            f"class names: neither weights nor config have them; give the {count} names by --classes a,b,c or "
            "--classes FILE with one a line, in the order of the labels 1, 2, ..."
        )
    report.assumed.append(f"the {count} class name(s) of COCO, which the config trains on")
    return known


def finished(
    framework: str,
    count: int,
    tensors: Mapping[str, Tensor],
    found: Architecture,
    spec: ModelSpec,
    order: ChannelOrder,
    options: ImportOptions,
    report: Report,
) -> Imported:
    """The model of a spec with these weights, and the first lines of its report.

    Args:
        framework: its name.
        count: of the tensors in the file.
        tensors: by detectron2's names and in its order of rows.
        found: their architecture.
        spec: of the network.
        order: of the channels in training.
        options: the user's word.
        report: to which the lines are added.

    Raises:
        ValueError: a setting out of its range, or a weight that does not fit.
    """
    model = model_of(with_settings(spec, options.settings), to_weights(tensors, found, _NO_WEIGHTS, order), framework)
    parts = ["boxes"] + ["masks"] * (found.mask is not None) + ["keypoints"] * (found.keypoints is not None)
    sizes = spec.preprocessing
    report.found[:0] = [
        f"{framework}, {spec.backbone.body_name} {found.features.upper()}, {found.num_classes} classes, "
        f"{', '.join(parts)}; {count} tensors",
        f"size {sizes.shorter_side_px}/{sizes.longer_side_px}, stride in "
        f"{'1x1' if spec.backbone.stride_in_1x1 else '3x3'}, sampling {spec.roi_align.sampling_ratio}"
        + (" (adaptive)" if spec.roi_align.sampling_ratio == 0 else ""),
        "corners of boxes are their first and last pixels (a width is x1 - x0 + 1), here, too",
    ]
    if order == "bgr":
        report.found.append("trained on BGR: the first convolution and means are turned, pictures stay RGB")
    if found.agnostic_boxes:
        report.found.append(f"one box for all classes: its rows are repeated for each of {found.num_classes}")
    return Imported(model.eval(), report)
