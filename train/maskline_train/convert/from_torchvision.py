"""Import weights with the layout of torchvision's `maskrcnn_`, `keypointrcnn_` or `fasterrcnn_resnet50_fpn`.

torchvision's conventions that differ from ours by default become fields of the ModelSpec: anchors rounded to whole
pixels, RoIAlign with the legacy half-pixel shift, keypoints of enlarged heatmaps. Its background row, first there,
moves to the end, once, here.

Differs: torchvision places P6's anchors `canvas // cells` pixels apart, 61 instead of 64 on a canvas 800 high; those of
`torchvision_spec` are 64 apart on every canvas, which every kernel can do. Proposals of P6 (objects of about 512 px)
then start up to 36 px away, before the box head refines them; on canvases that 64 divides nothing differs. What
`maskline-train import` makes has torchvision's (`AnchorSpec.stride_of_cells`).

Letters: K foreground classes, C channels.
Ref: torchvision/models/detection/mask_rcnn.py and faster_rcnn.py.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from maskline_train.convert.body import read_body
from maskline_train.convert.fold import check_variance, fold_batch_norms, weight_of
from maskline_train.convert.keypoints import keypoint_head
from maskline_train.convert.load import COUNTER, model_of
from maskline_train.data import coco_person
from maskline_train.model.backbone.norms import FrozenBatchNorm
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import (
    AnchorSpec,
    BackboneSpec,
    BoxHeadSpec,
    MaskHeadSpec,
    ModelSpec,
    RoIAlignSpec,
    RPNHeadSpec,
)

# torchvision's published detection weights (COCO_V1) were trained with a batch norm that adds nothing to the variance;
# a model that `maskrcnn_resnet50_fpn(weights=None)` makes, with `weights_backbone` or not, adds 1e-5, as ours does.
PUBLISHED_NORM_EPS = 0.0
BUILT_NORM_EPS = 1e-5

# Theirs to ours; the first that fits counts, so the older layout stands below the newer one.
_PREFIXES = {
    "backbone.body.": "backbone.body.",
    "rpn.head.conv.0.0.": "rpn_head.conv.",
    "rpn.head.conv.1.0.": "rpn_head.more_convs.0.",
    "rpn.head.cls_logits.": "rpn_head.logits.",
    "rpn.head.bbox_pred.": "rpn_head.deltas.",
    "roi_heads.box_head.fc6.": "box_head.fc1.",
    "roi_heads.box_head.fc7.": "box_head.fc2.",
    **{f"roi_heads.box_head.{i}.0.": f"box_head.convs.{i}." for i in range(4)},
    "roi_heads.box_head.5.": "box_head.fc1.",
    "roi_heads.box_predictor.cls_score.": "box_head.class_logits.",
    "roi_heads.box_predictor.bbox_pred.": "box_head.box_deltas.",
    "roi_heads.mask_predictor.conv5_mask.": "mask_head.upsample.",
    "roi_heads.mask_predictor.mask_fcn_logits.": "mask_head.mask_logits.",
    **{f"backbone.fpn.inner_blocks.{i}.0.": f"backbone.fpn.lateral.{i}." for i in range(4)},
    **{f"backbone.fpn.layer_blocks.{i}.0.": f"backbone.fpn.output.{i}." for i in range(4)},
    **{f"roi_heads.mask_head.{i}.0.": f"mask_head.convs.{i}." for i in range(4)},
    **{f"roi_heads.keypoint_head.{2 * i}.": f"keypoint_head.convs.{i}." for i in range(8)},  # each before its ReLU
    "roi_heads.keypoint_predictor.kps_score_lowres.": "keypoint_head.keypoint_logits.",
    # The published COCO_V1 file is older than `Conv2dNormActivation`, which put each convolution one level deeper.
    "rpn.head.conv.": "rpn_head.conv.",
    **{f"backbone.fpn.inner_blocks.{i}.": f"backbone.fpn.lateral.{i}." for i in range(4)},
    **{f"backbone.fpn.layer_blocks.{i}.": f"backbone.fpn.output.{i}." for i in range(4)},
    **{f"roi_heads.mask_head.mask_fcn{i + 1}.": f"mask_head.convs.{i}." for i in range(4)},
}


_V2 = "rpn.head.conv.1.0.weight"  # the second convolution of the RPN head
# Its pyramid and heads have convolution `.0` and batch norm `.1`.
_V2_NORM = re.compile(r"((?:backbone\.fpn\.(?:inner|layer)_blocks|roi_heads\.(?:box|mask)_head)\.\d\.)1\.$")


def is_v2(names: Collection[str]) -> bool:
    """Whether a state dict is of `maskrcnn_` or `fasterrcnn_resnet50_fpn_v2`."""
    return _V2 in names


def torchvision_spec(
    classes: Sequence[str], masks: bool = True, keypoints: Sequence[str] = (), v2: bool = False
) -> ModelSpec:
    """The ModelSpec of torchvision's `maskrcnn_resnet50_fpn` with its default arguments.

    Args:
        classes: the K foreground classes, in the order of torchvision's labels 1..K.
        masks: False for `fasterrcnn_resnet50_fpn`, which differs in nothing but the missing mask branch.
        keypoints: their names, without masks, for `keypointrcnn_resnet50_fpn`.
        v2: two convolutions in the RPN head, four and one layer in the box head.
    """
    return ModelSpec(
        classes=tuple(classes),
        backbone=BackboneSpec(depth=50, norm="frozen_batch", frozen_stages=2, stride_in_1x1=False),
        anchors=AnchorSpec(rounded=True),
        rpn_head=RPNHeadSpec(num_convs=2 if v2 else 1),
        roi_align=RoIAlignSpec(sampling_ratio=2, aligned=False),
        box_head=BoxHeadSpec(num_convs=4, num_fcs=1) if v2 else BoxHeadSpec(),
        mask_head=MaskHeadSpec(paste="detectron") if masks else None,
        keypoint_head=keypoint_head(keypoints, score="logit") if keypoints else None,
    )


def import_torchvision(
    state_dict: Mapping[str, Tensor],
    classes: Sequence[str],
    norm_eps: float,
    keypoints: Sequence[str] = coco_person.KEYPOINTS,
) -> MaskRCNN:
    """A model that computes what torchvision's does with these weights.

    Args:
        state_dict: of `torchvision.models.detection.maskrcnn_resnet50_fpn`, `keypointrcnn_resnet50_fpn`,
            `fasterrcnn_resnet50_fpn` or a `_v2` of them; its names tell which branches the model has.
        classes: names of labels 1..K; the published COCO weights have K = 90 with gaps, name those too.
        norm_eps: what the source adds to the variance in its batch norms, which no state dict tells and a wrong guess
            shows in no error: `PUBLISHED_NORM_EPS` for torchvision's own COCO weights and what was fine-tuned of
            them, `BUILT_NORM_EPS` for a model built without them and for every `_v2`.
        keypoints: their names, for a network that has such a branch.

    Returns:
        A model in evaluation mode.

    Raises:
        ValueError: a weight is missing, unknown or of another shape, e.g. another number of classes.
    """
    return load_torchvision(state_dict, spec_of(state_dict, classes, keypoints), norm_eps)


def spec_of(state_dict: Mapping[str, Tensor], classes: Sequence[str], keypoints: Sequence[str]) -> ModelSpec:
    """`torchvision_spec` with the branches and the body that the weights have.

    Raises:
        ValueError: a body that is none of ours.
    """
    masks = any(name.startswith("roi_heads.mask_") for name in state_dict)
    names = keypoints if num_keypoints(state_dict) else ()
    spec = torchvision_spec(classes, masks, names, is_v2(state_dict))
    shapes = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    body = read_body(shapes, "backbone.body.conv1.weight", [f"backbone.body.layer{stage}." for stage in (1, 2, 3, 4)])
    backbone = dataclasses.replace(
        spec.backbone,
        depth=body.depth,  # type: ignore[arg-type]
        base_channels=body.stem,
        groups=body.groups,
        width_per_group=body.width_per_group,
    )
    return dataclasses.replace(spec, backbone=backbone)


def num_classes(state_dict: Mapping[str, Tensor]) -> int:
    """K.

    Raises:
        ValueError: the weights have no box predictor, or one of no class.
    """
    name = "roi_heads.box_predictor.cls_score.bias"
    found = len(weight_of(state_dict, name)) - 1
    if found < 1:
        raise ValueError(f"weight {name!r}: got {found + 1} row(s), expected the background and at least one class")
    return found


def num_keypoints(state_dict: Mapping[str, Tensor]) -> int:
    """J; 0 for a network without keypoints.

    Raises:
        ValueError: a part of the branch alone is there.
    """
    if not any(name.startswith("roi_heads.keypoint_") for name in state_dict):
        return 0
    return len(weight_of(state_dict, "roi_heads.keypoint_predictor.kps_score_lowres.bias"))


def load_torchvision(state_dict: Mapping[str, Tensor], spec: ModelSpec, norm_eps: float) -> MaskRCNN:
    """`import_torchvision` for a spec that says more than the weights."""
    found = num_classes(state_dict)
    if found != spec.num_classes:
        raise ValueError(
            f"torchvision weights: got {found} foreground classes, expected the {spec.num_classes} named; "
            "name every label from 1 on, unused ones too"
        )
    if is_v2(state_dict):
        state_dict = fold_batch_norms(state_dict, _conv_before, norm_eps)
    # Counters of ordinary batch norms have no meaning for frozen ones.
    names = [name for name in state_dict if not name.endswith(COUNTER)]
    model = model_of(spec, {_renamed(name): _background_last(name, state_dict) for name in names}, "torchvision")
    _set_norm_eps(model, norm_eps)
    return model.eval()


def _renamed(name: str) -> str:
    """Our name of a weight."""
    for theirs, ours in _PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    raise ValueError(
        f"weight {name!r}: not part of maskrcnn_resnet50_fpn, keypointrcnn_resnet50_fpn or fasterrcnn_resnet50_fpn; "
        f"expected a state dict of one of them"
    )


def _conv_before(norm: str) -> str | None:
    """The convolution of a norm of pyramid or heads; those of the body stay."""
    found = _V2_NORM.match(norm)
    return None if found is None else f"{found[1]}0."


def _background_last(name: str, weights: Mapping[str, Tensor]) -> Tensor:
    """Class rows in our order: K foreground classes, and the background, first in torchvision, last or dropped."""
    tensor = weight_of(weights, name)
    if "cls_score" in name:
        return torch.cat([tensor[1:], tensor[:1]])
    if "box_predictor.bbox_pred" in name:
        return tensor[4:]  # deltas of the background are never read
    return tensor[1:] if "mask_fcn_logits" in name else tensor


@torch.no_grad()
def _set_norm_eps(model: MaskRCNN, norm_eps: float) -> None:
    """Let the norms compute what they would with `norm_eps`, by scaling their weights: our epsilon is fixed."""
    for name, module in model.named_modules():
        if isinstance(module, FrozenBatchNorm):
            check_variance(f"{name}.running_var", module.running_var, norm_eps)
            module.weight *= torch.sqrt((module.running_var + module.eps) / (module.running_var + norm_eps))
