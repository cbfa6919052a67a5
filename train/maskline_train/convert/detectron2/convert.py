"""A detectron2 network as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maskline_train.checkpoint import first_misfit
from maskline_train.convert.detectron2.agreement import check_agreement, check_support
from maskline_train.convert.detectron2.architecture import Architecture, read_architecture
from maskline_train.convert.detectron2.config import OF_THE_BODY, Values, checked, read_config, zoo_values
from maskline_train.convert.detectron2.names import is_constant
from maskline_train.convert.detectron2.to_spec import channel_order, to_spec
from maskline_train.convert.detectron2.weights import to_weights
from maskline_train.convert.options import ImportOptions, with_settings
from maskline_train.convert.report import Imported, Report
from maskline_train.data import coco_person, coco_things
from maskline_train.model.mask_rcnn import MaskRCNN

_FEATURES = {"fpn": "FPN", "c4": "C4", "dc5": "DC5"}


def import_detectron2(tensors: Mapping[str, Tensor], options: ImportOptions) -> Imported:
    """A model that computes what detectron2's does with these weights and this config.

    Args:
        tensors: a state dict, without common prefixes.
        options: the config and what else the user says.

    Raises:
        OSError: no such config.
        ValueError: config and weights contradict each other, a part is not supported, or something that matters is
            known neither from them nor from the options.
    """
    report = Report()
    found = read_architecture(tensors)
    given = None if options.config is None else read_config(options.config)
    if options.norm_eps is not None:
        raise ValueError("--norm-eps: detectron2's networks all add 1e-5; leave it out")
    check_support(given or {})
    check_agreement(found, given or {})
    config = _complete(found, given, options, report)
    order = options.channels or channel_order(config)
    classes = _classes(found, config, options, report)
    spec = to_spec(found, config, classes, _keypoints(found, options, report), order)
    model = MaskRCNN(with_settings(spec, options.settings))
    _load(model, to_weights(tensors, found, config, order))
    _tell(found, config, order, tensors, report)
    return Imported(model.eval(), report)


def _complete(found: Architecture, given: Values | None, options: ImportOptions, report: Report) -> dict[str, Any]:
    """Every setting that is read: the config's, and where it is silent the model zoo's, if that was allowed."""
    zoo = zoo_values(found.features)
    if given is None and not options.zoo:
        raise ValueError(
            "detectron2's weights do not say channel order, stride, sampling, sizes and thresholds: give the "
            "config.yaml beside them by --config, or say --zoo-settings if a config of the model zoo made them"
        )
    said = checked(given or {}, zoo)
    silent = {name: value for name, value in zoo.items() if name not in said}
    if silent and not options.zoo:
        raise ValueError(
            f"config: says nothing of {', '.join(silent)}; give the config.yaml that detectron2 wrote beside the "
            "weights, which has all settings, or say --zoo-settings if these are as in the model zoo"
        )
    unsure = [name for name in OF_THE_BODY if name in silent]
    if unsure and (found.body.groups > 1 or found.norm == "group" or found.counts_batches):
        raise ValueError(
            f"{', '.join(unsure)}: in the model zoo another from one body to the next, where it is a ResNeXt or its "
            "norms are not frozen; give the config.yaml beside these weights by --config"
        )
    if silent:
        values = ", ".join(f"{name} {value}" for name, value in silent.items())
        report.assumed.append(f"as in the model zoo's {_FEATURES[found.features]} configs: {values}")
    return {**zoo, **said}


def _classes(found: Architecture, config: Values, options: ImportOptions, report: Report) -> tuple[str, ...]:
    """K names; COCO's own where the config trains on it."""
    if options.classes is not None:
        if len(options.classes) != found.num_classes:
            raise ValueError(
                f"--classes: got {len(options.classes)} names, the weights have {found.num_classes} classes; "
                "name each of them, in the order of training"
            )
        return options.classes
    trained_on = config.get("DATASETS.TRAIN", ["coco"] if options.zoo else [])
    on_coco = all(str(name).removeprefix("keypoints_").startswith("coco") for name in trained_on) and trained_on
    known = {len(coco_things.NAMES): coco_things.NAMES, 1: coco_things.NAMES[:1]}.get(found.num_classes)
    if not on_coco or known is None or (found.num_classes == 1 and found.keypoints is None):
        raise ValueError(
            f"class names: neither weights nor config have them; give the {found.num_classes} names by --classes a,b,c "
            "or --classes FILE with one a line, in the order of training (MetadataCatalog.get(...).thing_classes)"
        )
    report.assumed.append(f"the {len(known)} class name(s) of COCO, which the config trains on")
    return known


def _keypoints(found: Architecture, options: ImportOptions, report: Report) -> tuple[str, ...]:
    """J names; COCO's where there are as many."""
    if found.keypoints is None:
        return ()
    wanted = found.keypoints.rows
    if options.keypoints is None and wanted != len(coco_person.KEYPOINTS):
        raise ValueError(f"keypoint names: the weights have {wanted} keypoints; give their names by --keypoints a,b,c")
    if options.keypoints is None:
        report.assumed.append(f"the {wanted} keypoints are those of COCO's person")
        return coco_person.KEYPOINTS
    if len(options.keypoints) != wanted:
        raise ValueError(f"--keypoints: got {len(options.keypoints)} names, the weights have {wanted} keypoints")
    return options.keypoints


def _load(model: MaskRCNN, weights: dict[str, Tensor]) -> None:
    """Load all weights.

    Raises:
        ValueError: one is missing, unknown or of another shape.
    """
    own = model.state_dict()
    weights |= {name: torch.zeros_like(own[name]) for name in own if name.endswith("num_batches_tracked")}
    problem = first_misfit(own, weights)
    if problem is not None:
        raise ValueError(f"detectron2's weights (our names): {problem}")
    model.load_state_dict(weights)


def _tell(found: Architecture, config: Values, order: str, tensors: Mapping[str, Tensor], report: Report) -> None:
    """What was found, and what differs."""
    parts = ["boxes"] + ["masks"] * (found.mask is not None) + ["keypoints"] * (found.keypoints is not None)
    report.found.append(
        f"detectron2, {found.body} {_FEATURES[found.features]}, {found.num_classes} classes, "
        f"{', '.join(parts)}; {len(tensors)} tensors"
    )
    sampling = config["MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO"]
    report.found.append(
        f"size {config['INPUT.MIN_SIZE_TEST']}/{config['INPUT.MAX_SIZE_TEST']}, stride in "
        f"{'1x1' if config['MODEL.RESNETS.STRIDE_IN_1X1'] else '3x3'}, {config['MODEL.ROI_BOX_HEAD.POOLER_TYPE']} with "
        f"sampling {sampling}" + (" (adaptive)" if sampling == 0 else "")
    )
    if order == "bgr":
        report.found.append("trained on BGR: the first convolution, mean and std are turned, pictures stay RGB")
    if found.agnostic_boxes:
        report.found.append(f"one box for all classes: its rows are repeated for each of {found.num_classes}")
    constants = sum(is_constant(name) for name in tensors)
    if constants:
        report.left_out.append(f"{constants} constants (pixel mean and std, anchors), which the config says")
