"""A network of ours as Detectron and maskrcnn-benchmark would have saved it: names and order of rows turned backwards.

Written from the frameworks' own names (`tests/foreign/keys` has those of full-size networks), not from the import's.
"""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec
from torch import Tensor

NOISE = 7.0  # what rows hold that nobody reads
EPS = 1e-5  # that our norms add to the variance
_NAMES = (  # ours, maskrcnn-benchmark's
    (r"backbone\.body\.(conv1|bn1)\.", r"backbone.body.stem.\1."),
    (r"res5\.layer4\.", "roi_heads.box.feature_extractor.head.layer4."),
    (r"backbone\.fpn\.lateral\.(\d)\.", r"backbone.fpn.fpn_inner<\1>."),
    (r"backbone\.fpn\.output\.(\d)\.", r"backbone.fpn.fpn_layer<\1>."),
    (r"backbone\.fpn\.lateral_norms\.(\d)\.", r"backbone.fpn.fpn_inner<\1>.1."),
    (r"backbone\.fpn\.output_norms\.(\d)\.", r"backbone.fpn.fpn_layer<\1>.1."),
    (r"rpn_head\.conv\.", "rpn.head.conv."),
    (r"rpn_head\.logits\.", "rpn.head.cls_logits."),
    (r"rpn_head\.deltas\.", "rpn.head.bbox_pred."),
    (r"box_head\.fc1\.", "roi_heads.box.feature_extractor.fc6."),
    (r"box_head\.fc2\.", "roi_heads.box.feature_extractor.fc7."),
    (r"box_head\.fc_norms\.0\.", "roi_heads.box.feature_extractor.fc6.1."),
    (r"box_head\.fc_norms\.1\.", "roi_heads.box.feature_extractor.fc7.1."),
    (r"box_head\.class_logits\.", "roi_heads.box.predictor.cls_score."),
    (r"box_head\.box_deltas\.", "roi_heads.box.predictor.bbox_pred."),
    (r"mask_head\.convs\.(\d)\.", r"roi_heads.mask.feature_extractor.mask_fcn<\1>."),
    (r"mask_head\.norms\.(\d)\.", r"roi_heads.mask.feature_extractor.mask_fcn<\1>.1."),
    (r"mask_head\.upsample\.", "roi_heads.mask.predictor.conv5_mask."),
    (r"mask_head\.mask_logits\.", "roi_heads.mask.predictor.mask_fcn_logits."),
    (r"keypoint_head\.convs\.(\d)\.", r"roi_heads.keypoint.feature_extractor.conv_fcn<\1>."),
    (r"keypoint_head\.keypoint_logits\.", "roi_heads.keypoint.predictor.kps_score_lowres."),
)
_BLOBS = (  # ours, Detectron's
    (r"backbone\.body\.conv1\.", "conv1."),
    (r"(?:backbone\.body|res5)\.layer(\d)\.(\d+)\.downsample\.0\.", r"res<\1>_\2_branch1."),
    (r"(?:backbone\.body|res5)\.layer(\d)\.(\d+)\.conv(\d)\.", r"res<\1>_\2_branch2{\3}."),
    (r"backbone\.fpn\.lateral\.3\.", "fpn_inner_res5_2_sum."),
    (r"backbone\.fpn\.lateral\.0\.", "fpn_inner_res2_2_sum_lateral."),
    (r"backbone\.fpn\.lateral\.1\.", "fpn_inner_res3_3_sum_lateral."),
    (r"backbone\.fpn\.lateral\.2\.", "fpn_inner_res4_5_sum_lateral."),
    (r"backbone\.fpn\.output\.0\.", "fpn_res2_2_sum."),
    (r"backbone\.fpn\.output\.1\.", "fpn_res3_3_sum."),
    (r"backbone\.fpn\.output\.2\.", "fpn_res4_5_sum."),
    (r"backbone\.fpn\.output\.3\.", "fpn_res5_2_sum."),
    (r"rpn_head\.conv\.", "conv_rpn@."),
    (r"rpn_head\.logits\.", "rpn_cls_logits@."),
    (r"rpn_head\.deltas\.", "rpn_bbox_pred@."),
    (r"box_head\.fc1\.", "fc6."),
    (r"box_head\.fc2\.", "fc7."),
    (r"box_head\.class_logits\.", "cls_score."),
    (r"box_head\.box_deltas\.", "bbox_pred."),
    (r"mask_head\.convs\.(\d)\.", r"_[mask]_fcn<\1>."),
    (r"mask_head\.upsample\.", "conv5_mask."),
    (r"mask_head\.mask_logits\.", "mask_fcn_logits."),
    (r"keypoint_head\.convs\.(\d)\.", r"conv_fcn<\1>."),
    (r"keypoint_head\.keypoint_logits\.", "kps_score_lowres."),
)
_NORMS = (
    (r"backbone\.body\.bn1\.", "res_conv1_bn"),
    (r"(?:backbone\.body|res5)\.layer(\d)\.(\d+)\.downsample\.1\.", r"res<\1>_\2_branch1_bn"),
    (r"(?:backbone\.body|res5)\.layer(\d)\.(\d+)\.bn(\d)\.", r"res<\1>_\2_branch2{\3}_bn"),
)


def random_network(spec: ModelSpec, statistics: bool) -> MaskRCNN:
    """A network with random weights; `statistics`: its frozen norms have means and variances, too."""
    torch.manual_seed(15)
    model = MaskRCNN(spec).eval()
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0) if statistics else tensor.fill_(1.0)
        elif name.endswith("running_mean"):
            tensor.normal_() if statistics else tensor.zero_()
        else:
            tensor.normal_()
    return model


def state_dict_of_maskrcnn_benchmark(weights: dict[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The weights (our names) by maskrcnn-benchmark's names, with the anchors."""
    theirs: dict[str, Tensor] = {}
    norms = spec.backbone.fpn_norm == "group"
    for name, tensor in weights.items():
        new = _renamed(name, _NAMES)
        if norms and re.search(r"(fpn_(inner|layer)\d|mask_fcn\d|fc[67])\.(weight|bias)$", new):
            new = re.sub(r"\.(weight|bias)$", r".0.\1", new)
        if not new.endswith(("fc6.0.bias", "fc7.0.bias")):
            theirs[new] = _turned(name, tensor, weights, spec)
        if new.startswith("roi_heads.box.feature_extractor.head.") and spec.mask_head is not None:
            theirs[new.replace("roi_heads.box.", "roi_heads.mask.")] = theirs[new]
    for level, cells in enumerate(_by_ratio(cells, spec) for cells in spec.anchors.cells_px or ()):
        theirs[f"rpn.anchor_generator.cell_anchors.{level}"] = cells
    return theirs


def blobs_of_detectron(weights: dict[str, Tensor], spec: ModelSpec) -> dict[str, Tensor]:
    """The weights (our names) by Detectron's names, norms as scale and shift: of means 0 and variances 1 alone."""
    level = "_fpn2" if spec.backbone.features == "fpn" else ""
    blobs: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        norm = _renamed(name, _NORMS) if re.search(r"\.(bn\d|downsample\.1)\.", name) else ""
        if norm:
            part, kind = norm.rsplit("_bn", 1)
            if kind in ("weight", "bias"):
                blobs[f"{part}_bn_{'s' if kind == 'weight' else 'b'}"] = tensor / math.sqrt(1 + EPS) ** (
                    kind == "weight"
                )
            continue
        part, kind = _renamed(name, _BLOBS).replace("@", level).rsplit(".", 1)
        blobs[f"{part}_{kind[0]}"] = _turned(name, tensor, weights, spec)
    return blobs


def _renamed(name: str, names: tuple[tuple[str, str], ...]) -> str:
    """The other name, with all numbers in `<>` one more, as both count from there, and letters for those in `{}`."""
    for ours, theirs in names:
        new, count = re.subn(f"^{ours}", theirs, name)
        if count:
            new = re.sub(r"<(\d)>", lambda match: str(int(match[1]) + 1), new)
            return re.sub(r"\{(\d)\}", lambda match: " abc"[int(match[1])], new)
    return name


def _turned(name: str, tensor: Tensor, weights: dict[str, Tensor], spec: ModelSpec) -> Tensor:
    """One tensor with the background first, BGR, anchors by ratio, and norms that add nothing to the variance."""
    if name == "backbone.body.conv1.weight":
        return tensor.flip(1)
    if name.startswith("box_head.class_logits."):
        return torch.cat([tensor[-1:], tensor[:-1]])
    if name.startswith("box_head.box_deltas."):
        return torch.cat([torch.full_like(tensor[:4], NOISE), tensor])
    if name.startswith("mask_head.mask_logits."):
        return torch.cat([torch.full_like(tensor[:1], NOISE), tensor])
    if name.startswith("rpn_head.logits."):
        return _by_ratio(tensor, spec)
    if name.startswith("rpn_head.deltas."):
        return _by_ratio(tensor.unflatten(0, (-1, 4)), spec).flatten(0, 1)
    variance = name.removesuffix("weight") + "running_var"
    if name.endswith("weight") and variance in weights:
        return tensor * torch.sqrt(weights[variance] / (weights[variance] + EPS))
    return tensor


def _by_ratio(values: Any, spec: ModelSpec) -> Tensor:
    """[A, ...] by size, then ratio, into [A, ...] by ratio, then size."""
    ratios = len(spec.anchors.aspect_ratios)
    tensor = torch.as_tensor(values)
    return tensor.unflatten(0, (-1, ratios)).transpose(0, 1).flatten(0, 1)


def save_detectron(path: Path, blobs: dict[str, Tensor], config: str | None, protocol: int = 2) -> Path:
    """A `.pkl` as Detectron writes it: blobs and the text of its config."""
    content: dict[str, Any] = {"blobs": {name: tensor.numpy() for name, tensor in blobs.items()}}
    if config is not None:
        content["cfg"] = config
    path.write_bytes(pickle.dumps(content, protocol))
    return path
