"""A network of Detectron as ours: with its own conventions, or with those that detectron2 runs such a file by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.detectron.anchors import by_size, generated
from maskline_train.convert.detectron.config import (
    DEFAULTS,
    LISTS,
    MEANS,
    check_config,
    pixel_means,
    with_one_scale,
    zoo_values,
)
from maskline_train.convert.detectron.family import class_names, finished, with_statistics
from maskline_train.convert.detectron.names import is_unused, renamed
from maskline_train.convert.detectron.rows import background_last, in_order_of_anchors
from maskline_train.convert.detectron.settings import read_settings, settings_of
from maskline_train.convert.detectron.to_spec import Conventions, Head, Pooler, heads_of, to_spec, turned
from maskline_train.convert.detectron2.architecture import read_architecture
from maskline_train.convert.detectron2.config import Values, checked
from maskline_train.convert.detectron2.convert import import_detectron2
from maskline_train.convert.keypoints import keypoint_names
from maskline_train.convert.options import ChannelOrder, ImportOptions
from maskline_train.convert.report import Imported, Report
from maskline_train.spec import CANVAS_MULTIPLE, PreprocessingSpec, ProposalSpec

CONFIG = "cfg"  # what a file calls its own
_WANTED = "give the YAML that Detectron was run with by --config"
_OF_DETECTRON2 = "MODEL.META_ARCHITECTURE"  # a setting that every config of detectron2 has, and none of Detectron
_SECTIONS: dict[Head, str] = {"BOX": "FAST_RCNN", "MASK": "MRCNN", "KEYPOINT": "KRCNN"}
_METHODS = {"RoIAlign": "align_avg", "RoIPoolF": "pool", "RoIPool": "pool"}


def import_detectron(blobs: Mapping[str, Tensor], options: ImportOptions, own_config: object = None) -> Imported:
    """A model that computes what Detectron's does with these blobs.

    Args:
        blobs: by their names.
        options: a config of Detectron, or one of detectron2, by which detectron2 would run the file, and what else the
            user says.
        own_config: the text that the file has under `cfg`; None for none.

    Raises:
        OSError: no such config.
        ValueError: config and weights contradict each other, a part is not supported, or something that matters is
            known neither from them nor from the options.
    """
    given = None if options.config is None else read_settings(options.config, _WANTED)
    theirs = background_last(renamed(blobs))
    group_norms = any(name.endswith("_gn_s") for name in blobs)
    by_detectron2 = given is not None and _OF_DETECTRON2 in given
    if not group_norms:
        theirs = with_statistics(theirs, exact=not by_detectron2)
    if by_detectron2:
        imported = import_detectron2(theirs, options)
        imported.report.found.insert(0, "a file of Detectron, with the config of detectron2: as detectron2 runs it")
    else:
        imported = _as_detectron(len(blobs), theirs, options, given, own_config)
    if unused := [name for name in blobs if is_unused(name)]:
        few = ", ".join(unused[:4]) + ", ..." * (len(unused) > 4)
        imported.report.left_out.append(f"{len(unused)} blobs that no network reads at inference: {few}")
    return imported


def _as_detectron(
    num_blobs: int, theirs: dict[str, Tensor], options: ImportOptions, given: Values | None, own_config: object
) -> Imported:
    if options.norm_eps is not None:
        raise ValueError("--norm-eps: Detectron's norms are a scale and a shift, nothing is added; leave it out")
    report = Report()
    found = read_architecture(theirs)
    if found.features == "dc5":
        raise ValueError("got a body of five stages without a pyramid, expected one with FPN or of C4")
    own = settings_of(own_config, "the file's cfg", _WANTED) if isinstance(own_config, str) else None
    config = _complete(found, given, own, options, report)
    order = options.channels or "bgr"
    said = _conventions(found, config, order, report)
    theirs = in_order_of_anchors(theirs, by_size(len(said.cells[0]) // len(said.ratios), len(said.ratios)))
    trained_on = config.get("TRAIN.DATASETS") or ["coco"] * options.zoo
    classes = class_names(found, options, trained_on, report)
    spec = to_spec(found, said, classes, keypoint_names(found.num_keypoints, options, report))
    report.differs.extend(_differs(found))
    return finished("Detectron", num_blobs, theirs, found, spec, order, options, report)


def _complete(
    found: Architecture, given: Values | None, own: Values | None, options: ImportOptions, report: Report
) -> dict[str, Any]:
    """Every setting that is read: the user's config, or else the file's own; its defaults for what it does not say."""
    chosen = own if given is None else given
    zoo = zoo_values(found.features)
    if chosen is None and not options.zoo:
        raise ValueError(
            f"the file holds no cfg, and blobs do not say stride, sampling, sizes and thresholds: {_WANTED}, or say "
            "--zoo-settings if a published config made them"
        )
    if chosen is None and (found.body.groups > 1 or found.norm == "group"):
        raise ValueError(
            "RESNETS.STRIDE_1X1: in the published configs another for a ResNeXt and for group norms; "
            "give the config of these weights by --config"
        )
    if chosen is None:
        _assume(zoo, found, report)
        return zoo
    chosen = checked(with_one_scale(chosen), DEFAULTS, LISTS)
    silent = {name: value for name, value in zoo.items() if name not in chosen} if given is None else {}
    if silent and not options.zoo:
        raise ValueError(
            f"the file's cfg says nothing of {', '.join(silent)}; {_WANTED}, or say --zoo-settings if these are as in "
            "the published configs"
        )
    if silent:
        _assume(silent, found, report)
    report.found.append("the config is the one given" if given is not None else "the config is the file's own (cfg)")
    config = {**(DEFAULTS if given is not None else silent), **chosen}
    check_config(found, chosen, config)
    if own is not None and "MODEL.BBOX_REG_WEIGHTS" not in own:
        config["MODEL.BBOX_REG_WEIGHTS"] = [1.0] * 4  # Ref: `configure_bbox_reg_weights` of detectron/utils/net.py
        report.found.append(
            "the file's cfg has no MODEL.BBOX_REG_WEIGHTS: it is older than they are, and means 1 1 1 1"
        )
    return config


def _assume(values: Values, found: Architecture, report: Report) -> None:
    settings = ", ".join(f"{name} {value}" for name, value in values.items())
    report.assumed.append(f"as in the published {found.features.upper()} configs: {settings}")


def _conventions(found: Architecture, config: Values, order: ChannelOrder, report: Report) -> Conventions:
    levels, ratios = _levels(found, config)
    cells = []
    for stride, sizes in levels:
        made = generated(stride, sizes, ratios)
        cells.append(tuple(made[place] for place in by_size(len(sizes), len(ratios))))
    if len(cells[0]) != found.anchors:
        raise ValueError(f"config: got {len(cells[0])} anchors a cell, the weights have {found.anchors}")
    return Conventions(
        preprocessing=_preprocessing(found, config, order, report),
        stride_in_1x1=config["RESNETS.STRIDE_1X1"],
        cells=tuple(cells),
        sizes=tuple(size for _, sizes in levels for size in sizes),
        ratios=ratios,
        proposals=ProposalSpec(
            config["TEST.RPN_PRE_NMS_TOP_N"], config["TEST.RPN_POST_NMS_TOP_N"], config["TEST.RPN_NMS_THRESH"]
        ),
        poolers={head: _pooler(config, _SECTIONS[head]) for head in heads_of(found)},
        box={
            "delta_weights": tuple(map(float, config["MODEL.BBOX_REG_WEIGHTS"])),
            "score_thresh": config["TEST.SCORE_THRESH"],
            "nms_thresh": config["TEST.NMS"],
            "max_detections": config["TEST.DETECTIONS_PER_IM"],
        },
        canonical=(float(config["FPN.ROI_CANONICAL_SCALE"]), config["FPN.ROI_CANONICAL_LEVEL"]),
    )


def _levels(found: Architecture, config: Values) -> tuple[list[tuple[float, list[float]]], tuple[float, ...]]:
    """Stride and sizes of each level, and the ratios: one size a level of a pyramid, all of them on C4."""
    if found.features == "fpn":
        first = float(config["FPN.RPN_ANCHOR_START_SIZE"])
        ratios = config["FPN.RPN_ASPECT_RATIOS"]
        return [(4.0 * 2**level, [first * 2**level]) for level in range(5)], tuple(map(float, ratios))
    return [(16.0, [float(size) for size in config["RPN.SIZES"]])], tuple(map(float, config["RPN.ASPECT_RATIOS"]))


def _preprocessing(found: Architecture, config: Values, order: ChannelOrder, report: Report) -> PreprocessingSpec:
    means = pixel_means(config)
    if means is None:
        means = MEANS
        report.assumed.append(f"PIXEL_MEANS {MEANS}, Detectron's own: the config does not say them")
    return PreprocessingSpec(
        config["TEST.SCALE"],
        config["TEST.MAX_SIZE"],
        (),
        turned(means, order),
        (1.0, 1.0, 1.0),
        CANVAS_MULTIPLE if found.features == "fpn" else 1,
        "cv2",
        "detectron",
    )


def _pooler(config: Values, section: str) -> Pooler:
    method = config[f"{section}.ROI_XFORM_METHOD"]
    if method not in _METHODS:
        raise ValueError(f"config: {section}.ROI_XFORM_METHOD is {method!r}, supported: {', '.join(_METHODS)}")
    return Pooler(
        config[f"{section}.ROI_XFORM_RESOLUTION"],
        config[f"{section}.ROI_XFORM_SAMPLING_RATIO"],
        _METHODS[method],  # type: ignore[arg-type]
    )


def _differs(found: Architecture) -> list[str]:
    lines = [
        "Detectron resizes floats by a scale; here pixels are whole levels of 255, resized by whole sizes: half a "
        "level on average, up to 13 at an edge (docs/import/detectron.md)",
        "Detectron decodes and suppresses boxes in the original picture, here on the canvas: 0.05 px (worst 0.6)",
    ]
    if found.features == "fpn":
        lines.append("Detectron lets proposals reach into the padding of the canvas; here they end with the picture")
    return lines
