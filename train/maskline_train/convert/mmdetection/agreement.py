"""Whether a config belongs to the weights, and whether all that it asks for is supported.

Each setting of the model is one of four: read (`settings.py`), compared with the weights, of one value here, or of no
meaning at inference. What is none of them, a project's own, is reported.
Ref: the constructors in mmdet/models of 3.3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from maskline_train.convert.architecture import Architecture, Features, Norm
from maskline_train.convert.mmdetection.config import Values
from maskline_train.convert.mmdetection.settings import DEFAULTS, REQUIRED

NORMS: dict[str | None, Norm] = {None: "", "GN": "group", "BN": "batch", "SyncBN": "batch", "MMSyncBN": "batch"}
_EPS = 1e-5  # that every norm here adds
_BOX_HEADS = ("Shared2FCBBoxHead", "Shared4Conv1FCBBoxHead", "ConvFCBBoxHead")
_RIGHT_ONE = "give the config that was dumped beside these weights"
_PARTS_WITH_NORMS = ("backbone", "neck", "roi_head.shared_head", "roi_head.bbox_head", "roi_head.mask_head")
# Of training, or said by the weights' shapes; counters, sizes that follow from others.
_ELSEWHERE = re.compile(
    r"(.*\.)?((init_cfg|pretrained|loss_\w+|train_cfg|mask_iou)(\..*)?|with_cp|zero_init_residual|in_channels|requires_grad"
    r"|reg_decoded_bbox|norm_eval|num_groups|roi_feat_size|base_width)"
    r"|test_cfg\.rpn\.(nms_post|nms_across_levels|min_bbox_size)|.*\.nms\.split_thr|backbone\.frozen_stages"
    r"|roi_head\.mask_roi_extractor(\..*)?|(.*\.)?out_channels|neck\.no_norm_on_lateral"
    r"|(rpn|roi)_head\.test_cfg\..*"  # copies of test_cfg, which a detector that was built leaves in its config
    r"|rpn_head\.anchor_generator\.(scales|octave_base_scale|scales_per_octave|base_sizes|type)|neck\.num_outs"
)
# What a network of another body or head would take, by the class that the config names.
_WANTING = {
    "ResNetV1d": "ResNet-D is not supported: its stem of three 3 x 3 convolutions and its averaging shortcuts are no "
    "part of a BackboneSpec",
    "SwinTransformer": "Swin is not supported: only ResNet and ResNeXt bodies are",
}
_STRIDES: dict[Features, tuple[list[int], list[int], list[int]]] = {  # of the stages, their dilations, what is read
    "fpn": ([1, 2, 2, 2], [1, 1, 1, 1], [0, 1, 2, 3]),
    "c4": ([1, 2, 2], [1, 1, 1], [2]),
    "dc5": ([1, 2, 2, 1], [1, 1, 1, 2], [3]),
}


def check_support(found: Architecture, said: Values) -> None:
    """Raise for what our network cannot be.

    Raises:
        ValueError: naming the setting.
    """
    for name, usual, supported in _supported(found):
        value = said.get(name, usual)
        if value not in supported:
            wanting = f" ({_WANTING[value]})" if isinstance(value, str) and value in _WANTING else ""
            raise ValueError(
                f"config: model.{name} is {value!r}, supported: {', '.join(map(repr, supported))}{wanting}"
            )


def _supported(found: Architecture) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    """Settings that change answers and have one value here: name, mmdetection's default, what is supported."""
    strides, dilations, outputs = _STRIDES[found.features]
    yield "type", None, (("MaskRCNN",) if found.mask is not None else ("FasterRCNN", "MaskRCNN"))
    yield "backbone.type", None, (("ResNeXt",) if found.body.groups > 1 else ("ResNet", "ResNeXt"))
    yield "backbone.deep_stem", False, (False,)
    yield "backbone.avg_down", False, (False,)
    for name in ("conv_cfg", "dcn", "plugins"):
        yield f"backbone.{name}", None, (None,)
        yield f"backbone.{name}.type", None, (None,)
    yield "backbone.stage_with_dcn", [False] * 4, ([False] * 4, [False] * 3)
    yield "backbone.num_stages", 4, (len(strides),)
    yield "backbone.strides", [1, 2, 2, 2], (strides,)
    yield "backbone.dilations", [1, 1, 1, 1], (dilations,)
    yield "backbone.out_indices", [0, 1, 2, 3], (outputs,)
    yield "backbone.style", "pytorch", ("pytorch", "caffe")
    yield from _of_pyramid(found)
    yield from _of_proposals(found)
    yield from _of_heads(found)


def _of_pyramid(found: Architecture) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    yield "neck", None, (None,)  # a list of several
    yield "neck.type", None, (("FPN",) if found.features == "fpn" else (None,))
    yield "neck.num_outs", 5, (5,)
    yield "neck.start_level", 0, (0,)
    yield "neck.end_level", -1, (-1, 3)
    yield "neck.add_extra_convs", False, (False,)
    yield "neck.relu_before_extra_convs", False, (False,)
    yield "neck.no_norm_on_lateral", False, (False,) if found.fpn_norm == "group" else (False, True)
    yield "neck.upsample_cfg.mode", "nearest", ("nearest",)
    yield "neck.upsample_cfg.scale_factor", None, (None, 2)
    for name in ("conv_cfg", "act_cfg"):
        yield f"neck.{name}", None, (None,)
        yield f"neck.{name}.type", None, (None,)


def _of_proposals(found: Architecture) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    yield "rpn_head.type", None, ("RPNHead",)
    yield "rpn_head.num_classes", 1, (1,)
    yield "rpn_head.feat_channels", 256, (_channels_read(found),)
    yield "rpn_head.loss_cls.use_sigmoid", True, (True,)
    yield "rpn_head.loss_cls.type", "CrossEntropyLoss", ("CrossEntropyLoss",)
    yield "rpn_head.anchor_generator.type", "AnchorGenerator", ("AnchorGenerator",)
    yield "rpn_head.anchor_generator.centers", None, (None,)
    yield from _of_coder("rpn_head")
    yield from _of_nms("rpn")
    yield "test_cfg.rpn.nms_across_levels", False, (False,)


def _channels_read(found: Architecture) -> int:
    """Of the features that the RPN reads: its convolutions have as many."""
    deepest = 16 if found.features == "c4" else 32
    return found.fpn_channels or found.body.stem * (deepest // 4 if found.body.basic else deepest)


def _of_heads(found: Architecture) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    c4 = found.features == "c4"
    box, mask = "roi_head.bbox_head", "roi_head.mask_head"
    yield "roi_head.type", None, ("StandardRoIHead",)
    yield "roi_head.shared_head.type", None, (("ResLayer",) if c4 else (None,))
    if c4:
        yield "roi_head.shared_head.stage", 3, (3,)
        yield "roi_head.shared_head.stride", 2, (2,)
        yield "roi_head.shared_head.dilation", 1, (1,)
        yield "roi_head.shared_head.dcn", None, (None,)
    yield from _of_extractors(found)
    yield (
        f"{box}.type",
        None,
        ("BBoxHead",) if c4 else _BOX_HEADS,
    )
    yield f"{box}.with_avg_pool", False, (c4,)
    for name in ("with_cls", "with_reg"):
        yield f"{box}.{name}", True, (True,)
    yield f"{box}.predict_box_type", "hbox", ("hbox",)
    for name in ("num_cls_convs", "num_cls_fcs", "num_reg_convs", "num_reg_fcs"):
        yield f"{box}.{name}", 0, (0,)
    for name in ("reg_predictor_cfg", "cls_predictor_cfg"):
        yield f"{box}.{name}.type", "Linear", ("Linear",)
    yield f"{box}.loss_cls.type", "CrossEntropyLoss", ("CrossEntropyLoss",)
    yield f"{box}.loss_cls.use_sigmoid", False, (False,)
    yield f"{box}.conv_cfg.type", None, (None, "Conv", "Conv2d")
    yield from _of_coder(box)
    yield from _of_nms("rcnn")
    if found.mask is not None:
        yield f"{mask}.type", None, ("FCNMaskHead",)
        yield f"{mask}.conv_kernel_size", 3, (3,)
        yield f"{mask}.upsample_cfg.type", "deconv", ("deconv",)
        yield f"{mask}.upsample_cfg.scale_factor", 2, (2,)
        yield f"{mask}.predictor_cfg.type", "Conv", ("Conv", "Conv2d")
        yield f"{mask}.conv_cfg.type", None, (None, "Conv", "Conv2d")
        yield "test_cfg.rcnn.mask_thr_binary", 0.5, (0.5,)


def _of_coder(head: str) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    coder = f"{head}.bbox_coder"
    yield f"{coder}.type", "DeltaXYWHBBoxCoder", ("DeltaXYWHBBoxCoder",)
    yield f"{coder}.clip_border", True, (True,)
    yield f"{coder}.add_ctr_clamp", False, (False,)


def _of_nms(stage: str) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    nms = f"test_cfg.{stage}.nms"
    yield f"{nms}.type", "nms", ("nms",)
    yield f"{nms}.class_agnostic", False, (False,)
    yield f"{nms}.offset", 0, (0,)
    yield f"{nms}.max_num", -1, (-1,)
    yield f"{nms}.score_threshold", 0, (0,)


def _of_extractors(found: Architecture) -> Iterator[tuple[str, object, tuple[object, ...]]]:
    strides = [4, 8, 16, 32] if found.features == "fpn" else [16]
    for head in ("bbox",) if found.features == "c4" or found.mask is None else ("bbox", "mask"):
        extractor = f"roi_head.{head}_roi_extractor"
        yield f"{extractor}.type", None, ("SingleRoIExtractor",)
        yield f"{extractor}.featmap_strides", None, (strides,)
        yield f"{extractor}.roi_layer.use_torchvision", False, (False, True)
    if found.features == "c4":
        yield "roi_head.mask_roi_extractor.type", None, (None,)


def check_agreement(found: Architecture, said: Values) -> None:
    """Raise where the config says another network than the weights.

    Raises:
        ValueError: naming the setting.
    """
    for name, usual, of_weights in _compared(found, said):
        value = usual if said.get(name) is None else said[name]  # None: as by default
        if value != of_weights:
            raise ValueError(
                f"config: model.{name} is {value!r}, the weights have {of_weights!r}; they belong to two networks: "
                f"{_RIGHT_ONE}"
            )
    for part, norm in _norms(found):
        kind = said.get(f"{part}.norm_cfg.type", "BN" if part in ("backbone", "roi_head.shared_head") else None)
        if kind not in NORMS:
            raise ValueError(
                f"config: model.{part}.norm_cfg.type is {kind!r}, supported: {', '.join(map(repr, NORMS))}"
            )
        if NORMS[kind] != norm:
            raise ValueError(
                f"config: model.{part}.norm_cfg.type is {kind!r}, the weights have {norm or 'no'} norms; {_RIGHT_ONE}"
            )
        if (eps := said.get(f"{part}.norm_cfg.eps", _EPS)) != _EPS:
            raise ValueError(f"config: model.{part}.norm_cfg.eps is {eps!r}, supported: {_EPS}")


def _compared(found: Architecture, said: Values) -> Iterator[tuple[str, object, object]]:
    """What the weights say of settings: name, mmdetection's default, of the weights."""
    body, box, mask = found.body, "roi_head.bbox_head", "roi_head.mask_head"
    yield "backbone.depth", None, body.depth
    yield "backbone.groups", 1, body.groups
    yield "backbone.stem_channels", said.get("backbone.base_channels", 64), body.stem
    if found.features == "fpn":
        yield "neck.out_channels", None, found.fpn_channels
    yield "rpn_head.num_convs", 1, found.rpn_convs
    yield f"{box}.num_classes", 80, found.num_classes
    if found.num_classes > 1:
        yield f"{box}.reg_class_agnostic", False, found.agnostic_boxes
    if found.features != "c4":
        yield f"{box}.fc_out_channels", 1024, found.box_layers[1]
    if found.box.convs:
        yield f"{box}.conv_out_channels", 256, found.box.channels
    yield f"{mask}.type", None, "FCNMaskHead" if found.mask is not None else None
    if found.mask is not None:
        yield f"{mask}.num_convs", 4, found.mask.convs
        yield f"{mask}.conv_out_channels", 256, found.mask.channels
        if found.num_classes > 1:
            yield f"{mask}.class_agnostic", False, found.mask.rows == 1


def _norms(found: Architecture) -> Iterator[tuple[str, Norm]]:
    """Norms of the parts that have convolutions which could have one."""
    yield "backbone", found.norm
    if found.features == "c4":
        yield "roi_head.shared_head", found.norm
    if found.features == "fpn":
        yield "neck", found.fpn_norm
    if found.box.convs:
        yield "roi_head.bbox_head", found.box.norm
    if found.mask is not None and found.mask.convs:
        yield "roi_head.mask_head", found.mask.norm


def not_read(found: Architecture, said: Values) -> list[str]:
    """Settings of the model that no import reads and that mmdetection itself does not have."""
    known = {*DEFAULTS, *REQUIRED, *(name for name, *_ in (*_supported(found), *_compared(found, said)))}
    known |= {f"{part}.norm_cfg.{name}" for part in _PARTS_WITH_NORMS for name in ("type", "eps")}
    known |= {f"{part}.norm_cfg" for part in _PARTS_WITH_NORMS}
    known |= {"roi_head.shared_head.depth", "roi_head.shared_head.style", "neck.conv_cfg"}
    known |= {"roi_head.bbox_head.num_shared_convs", "roi_head.bbox_head.num_shared_fcs", "backbone.base_channels"}
    known |= {
        "roi_head.mask_head.num_classes",
        "test_cfg.rcnn.mask_thr_binary",
        "roi_head.shared_head",
        "roi_head.mask_head",
    }
    return [f"model.{name}" for name in said if name not in known and not _ELSEWHERE.fullmatch(name)]
