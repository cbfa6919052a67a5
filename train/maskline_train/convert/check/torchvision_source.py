"""torchvision's own network with a file's weights, built by torchvision's constructors, and what it finds.

A whole module in a file is never made: its state dict goes into a network that is built here.
Ref: torchvision/models/detection: mask_rcnn.py, keypoint_rcnn.py, faster_rcnn.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.misc import FrozenBatchNorm2d

from maskline_train.convert.check.answers import Answer, Source
from maskline_train.convert.from_torchvision import is_v2
from maskline_train.data.images import Pixels
from maskline_train.spec import BackboneSpec, ModelSpec

# Fields of the ModelSpec that are arguments of torchvision's constructors.
_ARGUMENTS = {
    "preprocessing.shorter_side_px",
    "preprocessing.longer_side_px",
    "preprocessing.mean",
    "preprocessing.std",
    "anchors.sizes_px",
    "anchors.aspect_ratios",
    "proposals.pre_nms_per_level",
    "proposals.max_proposals",
    "proposals.nms_thresh",
    "proposals.score_thresh",
    "roi_align.sampling_ratio",
    "box_head.score_thresh",
    "box_head.nms_thresh",
    "box_head.max_detections",
    "box_head.delta_weights",
}


def torchvision_source(
    state_dict: Mapping[str, Tensor], spec: ModelSpec, norm_eps: float, settings: Mapping[str, Any]
) -> Source:
    """Torchvision's network as a function of pictures.

    Args:
        state_dict: its weights.
        spec: of our network: branches, body and what the user has set.
        norm_eps: what the frozen norms of the body add to the variance.
        settings: what the user has set, by the fields' names.

    Raises:
        ValueError: a setting or a body that torchvision's constructors do not have.
    """
    unknown = [name for name in settings if name not in _ARGUMENTS]
    if unknown:
        raise ValueError(f"--check: torchvision has no argument for {', '.join(unknown)}, so it cannot be run beside")
    network = _network(state_dict, spec, norm_eps).eval()
    network.load_state_dict(dict(state_dict))
    return functools.partial(_answer, network)


def _network(state_dict: Mapping[str, Tensor], spec: ModelSpec, norm_eps: float) -> nn.Module:
    arguments = _arguments(spec)
    if is_v2(state_dict):
        if _body_of(spec.backbone) != "resnet50":
            raise ValueError(f"--check: torchvision has no _v2 network with a {spec.backbone.body_name} to run beside")
        build = detection.maskrcnn_resnet50_fpn_v2 if spec.mask_head else detection.fasterrcnn_resnet50_fpn_v2
        return build(weights=None, weights_backbone=None, **arguments)  # type: ignore[no-any-return]
    norm = functools.partial(FrozenBatchNorm2d, eps=norm_eps)
    body = resnet_fpn_backbone(backbone_name=_body_of(spec.backbone), weights=None, norm_layer=norm)
    if spec.keypoint_head is not None:
        return detection.KeypointRCNN(body, num_keypoints=len(spec.keypoint_head.names), **arguments)  # type: ignore[no-any-return]
    return (detection.MaskRCNN if spec.mask_head else detection.FasterRCNN)(body, **arguments)  # type: ignore[no-any-return]


def _body_of(spec: BackboneSpec) -> str:
    """Torchvision's name, e.g. resnet50, resnext50_32x4d, wide_resnet50_2."""
    name = spec.body_name.lower().replace("wide resnet-", "wide_resnet").replace("net-", "net")
    return name.replace(" ", "_").replace("-", "_")


def _arguments(spec: ModelSpec) -> dict[str, Any]:
    """Of the constructors."""
    count = len(spec.backbone.rpn_levels)
    sizes = tuple(spec.anchors.sizes_of_level(index, count) for index in range(count))
    roi = spec.roi_align.sampling_ratio
    pools = {"box": spec.box_head.pooled_side}
    if spec.mask_head is not None:
        pools["mask"] = spec.mask_head.pooled_side
    if spec.keypoint_head is not None:
        pools["keypoint"] = spec.keypoint_head.pooled_side
    return {
        "num_classes": spec.num_classes + 1,
        "min_size": spec.preprocessing.shorter_side_px,
        "max_size": spec.preprocessing.longer_side_px,
        "image_mean": [value / 255 for value in spec.preprocessing.mean],
        "image_std": [value / 255 for value in spec.preprocessing.std],
        "rpn_anchor_generator": AnchorGenerator(sizes, (spec.anchors.aspect_ratios,) * count),
        "rpn_pre_nms_top_n_test": spec.proposals.pre_nms_per_level,
        "rpn_post_nms_top_n_test": spec.proposals.max_proposals,
        "rpn_nms_thresh": spec.proposals.nms_thresh,
        "rpn_score_thresh": spec.proposals.score_thresh,
        "box_score_thresh": spec.box_head.score_thresh,
        "box_nms_thresh": spec.box_head.nms_thresh,
        "box_detections_per_img": spec.box_head.max_detections,
        "bbox_reg_weights": spec.box_head.delta_weights,
        **{f"{head}_roi_pool": MultiScaleRoIAlign(["0", "1", "2", "3"], side, roi) for head, side in pools.items()},
    }


@torch.no_grad()
def _answer(network: nn.Module, image: Pixels) -> Answer:
    """What it finds in one picture; its mask at a pixel is set above one half, as torchvision's examples have it."""
    (found,) = network([torch.from_numpy(image).permute(2, 0, 1).float() / 255])
    masks = keypoints = None
    if "masks" in found:
        pixels = (found["masks"][:, 0] > 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
        masks = list(coco_mask.encode(np.asfortranarray(pixels)))
    if "keypoints" in found:
        keypoints = found["keypoints"][..., :2].numpy()
    return Answer(found["boxes"].numpy(), found["scores"].numpy(), found["labels"].numpy() - 1, masks, keypoints)
