"""A detectron2 network as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.detectron2.agreement import check_agreement, check_support, not_read
from maskline_train.convert.detectron2.architecture import read_architecture
from maskline_train.convert.detectron2.config import OF_THE_BODY, Values, checked, read_config, zoo_values
from maskline_train.convert.detectron2.constants import check_constants, is_constant, settings_of
from maskline_train.convert.detectron2.to_spec import channel_order, to_spec
from maskline_train.convert.detectron2.weights import to_weights
from maskline_train.convert.keypoints import keypoint_names
from maskline_train.convert.load import model_of
from maskline_train.convert.options import ImportOptions, with_settings
from maskline_train.convert.report import Imported, Report
from maskline_train.data import coco_things
from maskline_train.spec import ModelSpec

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
    constants = settings_of(tensors)
    if given is not None:
        check_support(found, given)
        check_agreement(found, given)
        check_constants(constants, checked(given, zoo_values(found.features)))
    config = _complete(found, given, constants, options, report)
    order = options.channels or channel_order(config)
    classes = _classes(found, config, options, report)
    spec = to_spec(found, config, classes, keypoint_names(found.num_keypoints, options, report), order)
    weights = to_weights(tensors, found, config, order)
    model = model_of(with_settings(spec, options.settings), weights, "detectron2")
    _tell(found, config, model.spec, order, tensors, report)
    if given is not None and (others := not_read(found, given)):
        report.left_out.append(f"settings of the config that detectron2 does not have: {', '.join(others)}")
    return Imported(model.eval(), report, script="detectron2")


def _complete(
    found: Architecture, given: Values | None, constants: Values, options: ImportOptions, report: Report
) -> dict[str, Any]:
    """Every setting that is read: the config's, the file's own constants, and else the zoo's, if that was allowed."""
    zoo = zoo_values(found.features)
    if given is None and not options.zoo:
        raise ValueError(
            "detectron2's weights do not say channel order, stride, sampling, sizes and thresholds: give the "
            "config.yaml beside them by --config, or say --zoo-settings if a config of the model zoo made them"
        )
    said = {**constants, **(given or {})}
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
    given = options.classes_of(found.num_classes)
    if given is not None:
        return given
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


def _tell(
    found: Architecture, config: Values, spec: ModelSpec, order: str, tensors: Mapping[str, Tensor], report: Report
) -> None:
    """What was found, and what differs."""
    parts = ["boxes"] + ["masks"] * (found.mask is not None) + ["keypoints"] * (found.keypoints is not None)
    report.found.append(
        f"detectron2, {spec.backbone.body_name} {_FEATURES[found.features]}, {found.num_classes} classes, "
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
        report.found.append(f"{constants} constants (pixel mean and std, anchors) of the file are those that are used")
