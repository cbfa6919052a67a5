"""A network object of torchvision, which says what a state dict does not: sizes, thresholds, anchors, epsilon.

Ref: `GeneralizedRCNN` and its parts in torchvision/models/detection: transform.py, rpn.py, roi_heads.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from maskline_train.convert.options import ImportOptions
from maskline_train.convert.report import Imported
from maskline_train.convert.torchvision_weights import NO_CONFIG, import_from_torchvision

_LEVELS = 255.0  # torchvision's mean and std are of pixels in 0..1


def import_torchvision_module(network: nn.Module, options: ImportOptions) -> Imported:
    """A model that computes what this network does.

    Args:
        network: of `maskrcnn_`, `fasterrcnn_` or `keypointrcnn_resnet50_fpn`, a `_v2`, or built by torchvision's
            helpers with another ResNet.
        options: class names, and what shall differ from the network; its settings stand above the network's.

    Raises:
        ValueError: it is no such network, or has a part that ours have not.
    """
    network = _unwrapped(network)
    if not isinstance(network, GeneralizedRCNN):
        raise ValueError(f"got {type(network).__name__}, expected a network of torchvision.models.detection")
    found: Any = network
    settings = dict(_settings(found))
    said = dataclasses.replace(
        options,
        norm_eps=_norm_eps(network) if options.norm_eps is None else options.norm_eps,
        settings={**settings, **options.settings},
    )
    imported = import_from_torchvision(network.state_dict(), said)
    imported.report.assumed.remove(NO_CONFIG)
    imported.report.found.append("sizes, thresholds, anchors, RoIAlign and epsilon are the network's own")
    return imported


def _unwrapped(network: nn.Module) -> nn.Module:
    """What is inside of DataParallel, of its distributed form, and of `torch.compile`."""
    while not isinstance(network, GeneralizedRCNN):
        inside = next((getattr(network, name) for name in ("module", "_orig_mod") if hasattr(network, name)), None)
        if not isinstance(inside, nn.Module):
            break
        network = inside
    return network


def _settings(network: Any) -> Iterator[tuple[str, Any]]:
    """Fields of the ModelSpec and the network's values."""
    transform, rpn, heads = network.transform, network.rpn, network.roi_heads
    _same("transform.fixed_size", getattr(transform, "fixed_size", None), None)
    _same("the stride of the last stage", network.backbone.body.layer4[0].conv2.dilation, (1, 1))
    yield "preprocessing.shorter_side_px", int(transform.min_size[-1])  # of several the last is taken at inference
    yield "preprocessing.longer_side_px", int(transform.max_size)
    yield "preprocessing.canvas_multiple", int(transform.size_divisible)
    yield "preprocessing.mean", [value * _LEVELS for value in transform.image_mean]
    yield "preprocessing.std", [value * _LEVELS for value in transform.image_std]
    yield from _anchors(rpn.anchor_generator)
    _same("rpn.box_coder.weights", tuple(rpn.box_coder.weights), (1.0, 1.0, 1.0, 1.0))
    yield "proposals.pre_nms_per_level", int(rpn._pre_nms_top_n["testing"])
    yield "proposals.max_proposals", int(rpn._post_nms_top_n["testing"])
    yield "proposals.nms_thresh", float(rpn.nms_thresh)
    yield "proposals.score_thresh", float(rpn.score_thresh)
    yield "proposals.min_side_px", float(rpn.min_size)
    yield "box_head.delta_weights", [float(weight) for weight in heads.box_coder.weights]
    yield "box_head.score_thresh", float(heads.score_thresh)
    yield "box_head.nms_thresh", float(heads.nms_thresh)
    yield "box_head.max_detections", int(heads.detections_per_img)
    yield from _pooling(heads)


def _anchors(generator: Any) -> Iterator[tuple[str, Any]]:
    if type(generator) is not AnchorGenerator:
        raise ValueError(f"rpn.anchor_generator: got a {type(generator).__name__}, expected an AnchorGenerator")
    if len({len(sizes) for sizes in generator.sizes}) > 1 or len(set(generator.aspect_ratios)) > 1:
        raise ValueError(
            f"rpn.anchor_generator: got sizes {generator.sizes} with ratios {generator.aspect_ratios}, expected as "
            "many sizes and the same ratios on each level, which is what ours have"
        )
    if len(generator.sizes[0]) > 1:
        raise ValueError(f"rpn.anchor_generator: got sizes {generator.sizes}, expected one a level")
    yield "anchors.sizes_px", [float(size) for sizes in generator.sizes for size in sizes]
    yield "anchors.aspect_ratios", [float(ratio) for ratio in generator.aspect_ratios[0]]


def _pooling(heads: Any) -> Iterator[tuple[str, Any]]:
    """How heads read features: ours all do it alike, but for the side of what they read."""
    poolers = {
        "box_head": heads.box_roi_pool,
        "mask_head": heads.mask_roi_pool,
        "keypoint_head": heads.keypoint_roi_pool,
    }
    alike = set()
    for head, pooler in poolers.items():
        if pooler is None:
            continue
        if type(pooler) is not MultiScaleRoIAlign:
            raise ValueError(f"{head}: got a {type(pooler).__name__}, expected a MultiScaleRoIAlign")
        height, width = pooler.output_size
        _same(f"{head}, the sides of what it reads", height, width)
        yield f"{head}.pooled_side", int(height)
        alike.add((max(0, int(pooler.sampling_ratio)), float(pooler.canonical_scale), int(pooler.canonical_level)))
    if len(alike) > 1:
        raise ValueError(
            f"RoIAlign: got {sorted(alike)} (sampling, size, level) in the heads, expected the same in all"
        )
    (sampling, size, level) = alike.pop()
    yield "roi_align.sampling_ratio", sampling  # torchvision's is adaptive from 0 down
    yield "roi_align.canonical_size_px", size
    yield "roi_align.canonical_level", level


def _norm_eps(network: nn.Module) -> float:
    found = {module.eps for module in network.modules() if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d)}
    if len(found) != 1:
        raise ValueError(f"batch norms: got the epsilons {sorted(found)}, expected one for all")
    return float(found.pop())


def _same(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise ValueError(f"{what}: got {got}, expected {expected}, which ours have")
