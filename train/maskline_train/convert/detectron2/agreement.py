"""Whether a config belongs to the weights, and whether all that it asks for is supported.

Each setting of a config that `cfg.dump()` writes is one of four: read (`config.py`), compared with the weights, of one
value here, or of no meaning at inference. What is none of them, a project's own, is reported.
Ref: detectron2/config/defaults.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from maskline_train.convert import disagreement
from maskline_train.convert.architecture import Architecture, Branch, Features, Norm
from maskline_train.convert.detectron2.config import Values, zoo_values

# What detectron2 calls norms that compute the same at inference.
NORMS: dict[str, Norm] = {
    "": "",
    "GN": "group",
    **dict.fromkeys(("BN", "FrozenBN", "SyncBN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N"), "batch"),
}
# Of training, of evaluation, of other networks than those that are read; and the classes, which are asked for.
_ELSEWHERE = re.compile(
    r"(CUDNN_BENCHMARK|FLOAT32_PRECISION|OUTPUT_DIR|SEED|VIS_PERIOD|(DATALOADER|DATASETS|GLOBAL|SOLVER)\..*"
    r"|INPUT\.(CROP\..*|MASK_FORMAT|(MIN|MAX)_SIZE_TRAIN|MIN_SIZE_TRAIN_SAMPLING|RANDOM_FLIP)"
    r"|TEST\.(AUG\.(FLIP|MAX_SIZE|MIN_SIZES)|EVAL_PERIOD|EXPECTED_RESULTS|KEYPOINT_OKS_SIGMAS|PRECISE_BN\..*)"
    r"|MODEL\.(DEVICE|WEIGHTS|(PANOPTIC_FPN|RETINANET|SEM_SEG_HEAD|ROI_BOX_CASCADE_HEAD)\..*)"
    r"|MODEL\.ANCHOR_GENERATOR\.ANGLES|MODEL\.RESNETS\.DEFORM_(MODULATED|NUM_GROUPS)"  # of rotated; of deformable ones
    r"|MODEL\.(RPN|ROI_HEADS)\.(BATCH_SIZE_PER_IMAGE|IOU_LABELS|IOU_THRESHOLDS|POSITIVE_FRACTION|PROPOSAL_APPEND_GT)"
    r"|MODEL\.RPN\.(BOUNDARY_THRESH|P(RE|OST)_NMS_TOPK_TRAIN)"
    r"|MODEL\.\w+\.(LOSS_WEIGHT|BBOX_REG_LOSS_(TYPE|WEIGHT)|SMOOTH_L1_BETA)"
    r"|MODEL\.ROI_BOX_HEAD\.(TRAIN_ON_PRED_BOXES|USE_FED_LOSS|FED_LOSS_\w+)"
    r"|MODEL\.ROI_KEYPOINT_HEAD\.(MIN_KEYPOINTS_PER_IMAGE|NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS))"
)
_LEVELS: dict[Features, tuple[list[str], list[str], list[str]]] = {  # of the body, of the RPN, of the heads
    "fpn": (["res2", "res3", "res4", "res5"], ["p2", "p3", "p4", "p5", "p6"], ["p2", "p3", "p4", "p5"]),
    "c4": (["res4"], ["res4"], ["res4"]),
    "dc5": (["res5"], ["res5"], ["res5"]),
}
_RPN_CHANNELS = "MODEL.RPN.CONV_DIMS"
_BODIES = {"fpn": "build_resnet_fpn_backbone", "c4": "build_resnet_backbone", "dc5": "build_resnet_backbone"}


def check_agreement(found: Architecture, config: Values) -> None:
    """Raise where the config says another network than the weights.

    Raises:
        ValueError: naming the setting.
    """
    disagreement.check_agreement(_counted(config, found), _settings(found))
    for name, norm in _norms(found):
        said = config.get(name)
        if said is not None and said not in NORMS:
            raise disagreement.unsupported(name, said, NORMS)
        if said is not None and NORMS[said] != norm:
            raise disagreement.contradiction(name, said, f"{norm} norms" if norm else "no norms")


def _counted(config: Values, found: Architecture) -> Values:
    """The config, with the channels that a -1 in the RPN's stands for: as many as its layer reads."""
    said = config.get(_RPN_CHANNELS)
    if not isinstance(said, list):
        return config
    return {**config, _RPN_CHANNELS: [found.rpn_channels if channels == -1 else channels for channels in said]}


def _settings(found: Architecture) -> Iterator[tuple[str, object]]:
    """What the weights say of settings."""
    body = found.body
    yield "MODEL.ROI_HEADS.NUM_CLASSES", found.num_classes
    yield "MODEL.RESNETS.DEPTH", body.depth
    yield "MODEL.RESNETS.STEM_OUT_CHANNELS", body.stem
    yield "MODEL.RESNETS.NUM_GROUPS", body.groups
    yield "MODEL.RESNETS.WIDTH_PER_GROUP", body.width // body.groups
    yield "MODEL.MASK_ON", found.mask is not None
    yield "MODEL.KEYPOINT_ON", found.keypoints is not None
    yield _RPN_CHANNELS, [found.rpn_channels] * found.rpn_convs
    if found.features == "fpn":
        yield "MODEL.FPN.OUT_CHANNELS", found.fpn_channels
    if found.features != "c4":
        yield from _of_box_head(found)
    if found.num_classes > 1:
        yield "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", found.agnostic_boxes
    if found.mask is not None:
        yield "MODEL.ROI_MASK_HEAD.NUM_CONV", found.mask.convs
        yield "MODEL.ROI_MASK_HEAD.CONV_DIM", found.mask.channels
        if found.num_classes > 1:
            yield "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", found.mask.rows == 1
    if found.keypoints is not None:
        yield "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS", found.keypoints.rows
        yield "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS", [found.keypoints.channels] * found.keypoints.convs


def _of_box_head(found: Architecture) -> Iterator[tuple[str, object]]:
    yield "MODEL.ROI_BOX_HEAD.NUM_CONV", found.box.convs
    yield "MODEL.ROI_BOX_HEAD.NUM_FC", found.box_layers[0]
    if found.box.convs:
        yield "MODEL.ROI_BOX_HEAD.CONV_DIM", found.box.channels
    if found.box_layers[0]:
        yield "MODEL.ROI_BOX_HEAD.FC_DIM", found.box_layers[1]


def _norms(found: Architecture) -> Iterator[tuple[str, Norm]]:
    """Norms of the parts that have convolutions which could have one."""
    yield "MODEL.RESNETS.NORM", found.norm
    if found.features == "fpn":
        yield "MODEL.FPN.NORM", found.fpn_norm
    heads: tuple[tuple[str, Branch | None], ...] = (("BOX", found.box), ("MASK", found.mask))
    for head, branch in heads:
        if branch is not None and branch.convs:
            yield f"MODEL.ROI_{head}_HEAD.NORM", branch.norm


def check_support(found: Architecture, config: Values) -> None:
    """Raise for what our network cannot be.

    Raises:
        ValueError: naming the setting.
    """
    disagreement.check_support(config, _supported(found))


def _supported(found: Architecture) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Settings that change answers and have one value here; the weights do not say them."""
    body, rpn, heads = _LEVELS[found.features]
    box = "" if found.features == "c4" else "FastRCNNConvFCHead"
    yield "VERSION", (2,)
    yield "MODEL.META_ARCHITECTURE", ("GeneralizedRCNN",)
    yield "MODEL.BACKBONE.NAME", (_BODIES[found.features],)
    yield "MODEL.RESNETS.OUT_FEATURES", (body,)
    yield "MODEL.RESNETS.RES2_OUT_CHANNELS", (found.body.stem * (1 if found.body.basic else 4),)
    yield "MODEL.RESNETS.RES5_DILATION", (2 if found.features == "dc5" else 1,)
    yield "MODEL.RESNETS.DEFORM_ON_PER_STAGE", ([False] * 4,)
    yield "MODEL.ANCHOR_GENERATOR.NAME", ("DefaultAnchorGenerator",)
    yield "MODEL.LOAD_PROPOSALS", (False,)
    yield "MODEL.PROPOSAL_GENERATOR.NAME", ("RPN",)
    yield "MODEL.RPN.HEAD_NAME", ("StandardRPNHead",)
    yield "MODEL.RPN.IN_FEATURES", (rpn,)
    yield "MODEL.ROI_HEADS.NAME", ("Res5ROIHeads" if found.features == "c4" else "StandardROIHeads",)
    yield "MODEL.ROI_HEADS.IN_FEATURES", (heads,)
    yield "MODEL.ROI_BOX_HEAD.NAME", (box, "FastRCNNConvFCHead")  # C4 has none, whatever is said
    yield "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", (False,)
    yield "TEST.AUG.ENABLED", (False,)
    if found.features == "fpn":
        yield "MODEL.FPN.IN_FEATURES", (body,)
        yield "MODEL.FPN.FUSE_TYPE", ("sum",)
    if found.mask is not None:
        yield "MODEL.ROI_MASK_HEAD.NAME", ("MaskRCNNConvUpsampleHead",)
    if found.keypoints is not None:
        yield "MODEL.ROI_KEYPOINT_HEAD.NAME", ("KRCNNConvDeconvUpsampleHead",)


def not_read(found: Architecture, config: Values) -> list[str]:
    """Settings that no import reads and that detectron2 itself does not have, such as a project's own."""
    read = {*zoo_values(found.features), *(name for name, _ in (*_settings(found), *_supported(found), *_norms(found)))}
    other = re.compile(r"MODEL\.(FPN|ROI_BOX_HEAD|ROI_MASK_HEAD|ROI_KEYPOINT_HEAD)\.\w+")  # of parts that are not there
    return [name for name in config if name not in read and not _ELSEWHERE.fullmatch(name) and not other.match(name)]
