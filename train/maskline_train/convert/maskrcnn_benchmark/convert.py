"""A network of maskrcnn-benchmark as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maskline_train.convert.architecture import Architecture
from maskline_train.convert.detectron.anchors import by_size, generated
from maskline_train.convert.detectron.family import class_names, finished, without_epsilon
from maskline_train.convert.detectron.rows import background_last, in_order_of_anchors
from maskline_train.convert.detectron.settings import read_settings
from maskline_train.convert.detectron.to_spec import Conventions, Pooler, heads_of, to_spec, turned
from maskline_train.convert.detectron2.architecture import read_architecture
from maskline_train.convert.detectron2.config import Values, checked
from maskline_train.convert.keypoints import keypoint_names
from maskline_train.convert.maskrcnn_benchmark.config import DEFAULTS, LISTS, check_config, zoo_values
from maskline_train.convert.maskrcnn_benchmark.names import cell_anchors, renamed
from maskline_train.convert.options import ChannelOrder, ImportOptions
from maskline_train.convert.report import Imported, Report
from maskline_train.spec import PreprocessingSpec, ProposalSpec
from maskline_train.spec.proposals import Cell

_NEAR_PX = 1e-3  # float32 has 1e-4 of anchors of a thousand pixels
_FRAMEWORK = "maskrcnn-benchmark"
_WANTED = "give the config.yml that maskrcnn-benchmark wrote into the run's folder, or the YAML it was trained by"
_DIFFERS = (
    "more detections than the limit are found there where scores tie with the last one's; here the limit holds",
    "two boxes whose IoU is the threshold to the last bit suppress each other there on a CPU, here and on its GPUs not",
)


def import_maskrcnn_benchmark(tensors: Mapping[str, Tensor], options: ImportOptions) -> Imported:
    """A model that computes what maskrcnn-benchmark's does with these weights and this config.

    Args:
        tensors: a state dict, without common prefixes.
        options: the config and what else the user says.

    Raises:
        OSError: no such config.
        ValueError: config and weights contradict each other, a part is not supported, or something that matters is
            known neither from them nor from the options.
    """
    if options.norm_eps is not None:
        raise ValueError("--norm-eps: maskrcnn-benchmark's batch norms add nothing; leave it out")
    report = Report()
    theirs = without_epsilon(background_last(renamed(tensors)))
    found = read_architecture(theirs)
    if found.features == "dc5":
        raise ValueError("got a body of five stages without a pyramid, expected one with FPN or of C4")
    given = None if options.config is None else read_settings(options.config, _WANTED)
    if given is not None:
        check_config(found, checked(given, DEFAULTS, LISTS))
    config = _complete(found, given, options, report)
    order = options.channels or ("bgr" if config["INPUT.TO_BGR255"] else "rgb")
    said = _conventions(found, config, cell_anchors(tensors), order)
    sizes = len(said.cells[0]) // len(said.ratios)
    theirs = in_order_of_anchors(theirs, by_size(sizes, len(said.ratios)))
    classes = class_names(found, options, config.get("DATASETS.TRAIN") or ["coco"] * options.zoo, report)
    spec = to_spec(found, said, classes, keypoint_names(found.num_keypoints, options, report))
    report.differs.extend(_DIFFERS)
    return finished(_FRAMEWORK, len(tensors), theirs, found, spec, order, options, report)


def _complete(found: Architecture, given: Values | None, options: ImportOptions, report: Report) -> dict[str, Any]:
    """Every setting that is read: the config's, and its defaults; without one the published configs', if allowed."""
    if given is not None:
        return {**DEFAULTS, **given}
    if not options.zoo:
        raise ValueError(
            f"{_FRAMEWORK}'s weights do not say channel order, stride, sampling, sizes and thresholds: {_WANTED}, by "
            "--config, or say --zoo-settings if a published config made them"
        )
    if found.body.groups > 1 or found.norm == "group":
        raise ValueError(
            "MODEL.RESNETS.STRIDE_IN_1X1: in the published configs another for a ResNeXt and for group norms; "
            "give the config of these weights by --config"
        )
    zoo = zoo_values(found.features)
    values = ", ".join(f"{name} {value}" for name, value in zoo.items())
    report.assumed.append(f"as in the published {found.features.upper()} configs: {values}")
    return zoo


def _conventions(found: Architecture, config: Values, cells: Sequence[Tensor], order: ChannelOrder) -> Conventions:
    levels, ratios = _levels(found, config), tuple(map(float, config["MODEL.RPN.ASPECT_RATIOS"]))
    poolers = {
        head: Pooler(
            config[f"MODEL.ROI_{head}_HEAD.POOLER_RESOLUTION"], config[f"MODEL.ROI_{head}_HEAD.POOLER_SAMPLING_RATIO"]
        )
        for head in heads_of(found)
        if head != "MASK" or found.features != "c4"  # whose fifth stage serves boxes and masks
    }
    return Conventions(
        preprocessing=_preprocessing(config, order),
        stride_in_1x1=config["MODEL.RESNETS.STRIDE_IN_1X1"],
        cells=_cells(found, levels, ratios, cells),
        sizes=tuple(size for _, sizes in levels for size in sizes),
        ratios=ratios,
        proposals=_proposals(found, config),
        poolers=poolers,
        box={
            "delta_weights": tuple(map(float, config["MODEL.ROI_HEADS.BBOX_REG_WEIGHTS"])),
            "score_thresh": config["MODEL.ROI_HEADS.SCORE_THRESH"],
            "nms_thresh": config["MODEL.ROI_HEADS.NMS"],
            "max_detections": config["MODEL.ROI_HEADS.DETECTIONS_PER_IMG"],
        },
    )


def _preprocessing(config: Values, order: ChannelOrder) -> PreprocessingSpec:
    unit = 1.0 if config["INPUT.TO_BGR255"] else 255.0  # else pictures are RGB of 0 to 1
    return PreprocessingSpec(
        config["INPUT.MIN_SIZE_TEST"],
        config["INPUT.MAX_SIZE_TEST"],
        (),
        turned(config["INPUT.PIXEL_MEAN"], order, unit),
        turned(config["INPUT.PIXEL_STD"], order, unit),
        config["DATALOADER.SIZE_DIVISIBILITY"] or 1,
        size_rule="maskrcnn_benchmark",
    )


def _proposals(found: Architecture, config: Values) -> ProposalSpec:
    """A level's best, then those of all levels. One level has no second limit."""
    before, each = config["MODEL.RPN.PRE_NMS_TOP_N_TEST"], config["MODEL.RPN.POST_NMS_TOP_N_TEST"]
    joint = config["MODEL.RPN.FPN_POST_NMS_TOP_N_TEST"] if found.features == "fpn" else each
    if each < min(before, joint):
        raise ValueError(
            f"config: MODEL.RPN.POST_NMS_TOP_N_TEST is {each}, expected at least {min(before, joint)}: a limit of each "
            "level that is below those before NMS and of all levels is not supported"
        )
    return ProposalSpec(before, joint, config["MODEL.RPN.NMS_THRESH"])


def _levels(found: Architecture, config: Values) -> list[tuple[float, list[float]]]:
    """Stride and sizes of each level: one size a level of a pyramid, all of them on C4."""
    sizes, strides = config["MODEL.RPN.ANCHOR_SIZES"], config["MODEL.RPN.ANCHOR_STRIDE"]
    expected = [4, 8, 16, 32, 64] if found.features == "fpn" else [16]
    if list(strides) != expected or (found.features == "fpn" and len(sizes) != len(expected)):
        raise ValueError(
            f"config: got MODEL.RPN.ANCHOR_SIZES {sizes} and ANCHOR_STRIDE {strides}, expected strides {expected}"
            + (" and as many sizes" if found.features == "fpn" else "")
        )
    if found.features == "fpn":
        return [(stride, [float(size)]) for stride, size in zip(strides, sizes, strict=True)]
    return [(strides[0], [float(size) for size in sizes])]


def _cells(
    found: Architecture, levels: list[tuple[float, list[float]]], ratios: tuple[float, ...], of_file: Sequence[Tensor]
) -> tuple[tuple[Cell, ...], ...]:
    """The anchors of the file, which has had them since 2018, in our order; else those of the config.

    Raises:
        ValueError: the config says others.
    """
    made = [generated(stride, sizes, ratios) for stride, sizes in levels]
    if of_file:
        held = [tuple(tuple(map(float, cell)) for cell in level.tolist()) for level in of_file]
        if not _near(held, made):
            raise ValueError(
                f"config: MODEL.RPN.ANCHOR_SIZES and ASPECT_RATIOS make the anchors {made[0]} of the first level, the "
                f"file of weights has {held[0]} there; give the config that was written beside these weights"
            )
        made = held  # type: ignore[assignment]
    order = by_size(len(levels[0][1]), len(ratios))
    if len(order) != found.anchors:
        raise ValueError(f"config: got {len(order)} anchors a cell, the weights have {found.anchors}")
    return tuple(tuple(level[place] for place in order) for level in made)


def _near(held: Sequence[Sequence[Sequence[float]]], made: Sequence[Sequence[Sequence[float]]]) -> bool:
    """Whether anchors are the same but for the rounding of float32, in which a file has them."""
    shapes = [[len(level) for level in levels] for levels in (held, made)]
    pairs = zip(
        *([edge for level in levels for cell in level for edge in cell] for levels in (held, made)), strict=False
    )
    return shapes[0] == shapes[1] and all(abs(edge - other) <= _NEAR_PX for edge, other in pairs)
