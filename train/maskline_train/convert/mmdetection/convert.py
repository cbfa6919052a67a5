"""An mmdetection network as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.keypoints import refuse_keypoints
from maskline_train.convert.load import model_of
from maskline_train.convert.mmdetection.agreement import check_agreement, check_support, not_read
from maskline_train.convert.mmdetection.architecture import read_architecture
from maskline_train.convert.mmdetection.config import Values, config_in, read_config
from maskline_train.convert.mmdetection.names import renamed
from maskline_train.convert.mmdetection.pictures import Pictures, read_pictures
from maskline_train.convert.mmdetection.settings import complete, settings_of
from maskline_train.convert.mmdetection.to_spec import to_spec
from maskline_train.convert.mmdetection.weights import to_weights
from maskline_train.convert.options import ChannelOrder, ImportOptions, with_settings
from maskline_train.convert.report import Imported, Report
from maskline_train.spec import ModelSpec

_FEATURES = {"fpn": "FPN", "c4": "C4", "dc5": "DC5"}
_AVERAGE = "ema_"  # of 2.x: an average of the weights beside them, under other names
_CLAMP = (
    "mmdetection lets no box be more than 62.5 times narrower or lower than its anchor or proposal (dw and dh are "
    "limited on both sides), our decoding limits growth alone; no box of the networks tested comes near that"
)


def import_mmdetection(tensors: Mapping[str, Tensor], options: ImportOptions, around: Mapping[str, Any]) -> Imported:
    """A model that computes what mmdetection's does with these weights and this config.

    Args:
        tensors: a state dict, without common prefixes.
        options: a config in place of the file's own, and what else the user says.
        around: what the file holds beside the weights; its `meta` has config and class names.

    Raises:
        OSError: no such config.
        ValueError: config and weights contradict each other, a part is not supported, or something that matters is
            known neither from the file nor from the options.
    """
    _refuse_options(options)
    report = Report()
    meta = around.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    averaged = [name for name in tensors if name.startswith(_AVERAGE)]
    ours = {renamed(name): tensor for name, tensor in tensors.items() if name not in averaged}
    found = read_architecture(ours)
    config = _config(meta, options, report)
    said = settings_of(config)
    check_support(found, said)
    check_agreement(found, said)
    settings, pictures = complete(said), read_pictures(config)
    order: ChannelOrder = options.channels or ("bgr" if pictures.bgr else "rgb")
    spec = to_spec(found, settings, pictures, _classes(found, meta, options, report), order)
    model = model_of(with_settings(spec, options.settings), to_weights(ours, found, settings, order), "mmdetection")
    _tell(found, settings, pictures, model.spec, order, len(tensors), report)
    report.left_out += [f"{len(averaged)} tensors of an average of the weights ({_AVERAGE}...)"] * bool(averaged)
    if others := not_read(found, said):
        report.left_out.append(f"settings of the config that mmdetection does not have: {', '.join(others)}")
    report.differs.append(_CLAMP)
    return Imported(model.eval(), report, script="mmdetection")


def _refuse_options(options: ImportOptions) -> None:
    if options.norm_eps is not None:
        raise ValueError("--norm-eps: mmdetection's networks all add 1e-5; leave it out")
    if options.zoo:
        raise ValueError("--zoo-settings: mmdetection's files have their config inside; leave it out, or give --config")
    refuse_keypoints(options)


def _config(meta: Values, options: ImportOptions, report: Report) -> dict[str, Any]:
    """The one that is given, else the file's own."""
    own = None if options.config is not None else config_in(meta)
    versions = (meta.get(name) for name in ("mmdet_version", "mmengine_version"))
    version = next((text[:20] for text in versions if isinstance(text, str)), None)
    if options.config is None and own is None:
        raise ValueError(
            "the file has no config in its `meta`, and mmdetection's weights do not say channel order, stride, "
            "sampling, sizes and thresholds: give the config.py that was dumped into the run's work_dir by --config"
        )
    said = f", of mmdetection or mmengine {version}" if version else ""
    report.found.append(f"settings: {'the config in the file' if own is not None else options.config}{said}")
    return own if own is not None else read_config(options.config)  # type: ignore[arg-type]


def _classes(found: Architecture, meta: Values, options: ImportOptions, report: Report) -> tuple[str, ...]:
    """K names; the file's own unless others are given."""
    given = options.classes_of(found.num_classes)
    if given is not None:
        return given
    names = _names_in(meta)
    if names is None or len(names) != found.num_classes:
        got = "none" if names is None else f"{len(names)}"
        raise ValueError(
            f"class names: the file's `meta` has {got} for {found.num_classes} classes; give them by --classes a,b,c "
            "or --classes FILE with one a line, in the order of training (metainfo['classes'] of the data set)"
        )
    report.found.append(f"the {len(names)} class name(s) are the file's own")
    return names


def _names_in(meta: Values) -> tuple[str, ...] | None:
    """Of 3.x (`dataset_meta`, its first releases in capitals) or 2.x."""
    dataset = meta.get("dataset_meta")
    places = [dataset.get(name) for name in ("classes", "CLASSES")] if isinstance(dataset, Mapping) else []
    for names in (*places, meta.get("CLASSES")):
        if isinstance(names, str):
            return (names,)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _tell(
    found: Architecture, settings: Values, pictures: Pictures, spec: ModelSpec, order: str, count: int, report: Report
) -> None:
    """What was found."""
    parts = "boxes, masks" if found.mask is not None else "boxes"
    report.found.insert(
        0,
        f"mmdetection, {spec.backbone.body_name} {_FEATURES[found.features]}, {found.num_classes} classes, {parts}; "
        f"{count} tensors",
    )
    sampling = spec.roi_align.sampling_ratio
    report.found.append(
        f"size {pictures.shorter}/{pictures.longer}, resized by {pictures.filter}, padded to multiples of "
        f"{pictures.multiple}, {settings['backbone.style']} style (stride in "
        f"{'1x1' if spec.backbone.stride_in_1x1 else '3x3'}), RoIAlign with sampling {sampling}"
        + (" (adaptive)" if sampling == 0 else "")
    )
    if order == "bgr":
        report.found.append("trained on BGR: the first convolution, mean and std are turned, pictures stay RGB")
    if found.agnostic_boxes:
        report.found.append(f"one box for all classes: its rows are repeated for each of {found.num_classes}")
    if found.features != "fpn":
        report.found.append("anchors of a cell are put in our order, by size, then ratio")
