"""Makes random weights find a wanted number of plausible objects, since trained ones cannot be had offline.

Every class logit is centred and given the same spread over the proposals of real photographs, so that no class wins
everywhere; then the background's logit is raised or lowered until class-wise NMS leaves the wanted number of objects.
Mask logits are centred above the threshold, so that masks are mostly solid with a few holes.

Letters: K foreground classes, R proposals.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.peers import Photograph, to_float

CLASS_LOGIT_STD = 2.0  # of a trained detector's order: confident here and there, doubtful elsewhere
MASK_LOGIT_STD, MASK_LOGIT_MEAN = 1.0, 1.5  # 93 % of the cells above the threshold
BISECTIONS = 30


@torch.no_grad()
def calibrate_heads(model: TorchvisionMaskRCNN, images: Sequence[Photograph], num_objects: int) -> list[int]:
    """Change the last layers of the heads in place.

    Args:
        model: in evaluation mode.
        images: real photographs to calibrate on.
        num_objects: wanted number of objects in the median image; a mean would be made by one busy picture.

    Returns:
        The number that each image gets.
    """
    predictor = model.roi_heads.box_predictor
    runs = [_heads_of(model, image) for image in images]
    _standardise(predictor.cls_score, torch.cat([run["logits"] for run in runs]), 0.0, CLASS_LOGIT_STD)
    runs = [_heads_of(model, image) for image in images]
    low, high = -30.0, 60.0
    for _ in range(BISECTIONS):
        background = (low + high) / 2
        if statistics.median(_count_objects(model, runs, background)) > num_objects:
            low = background
        else:
            high = background
    predictor.cls_score.bias[0] += high
    found = _count_objects(model, runs, high)
    mask_logits = _mask_logits_of(model, images[0])
    _standardise(model.roi_heads.mask_predictor.mask_fcn_logits, mask_logits, MASK_LOGIT_MEAN, MASK_LOGIT_STD)
    return found


def _standardise(layer: nn.Linear | nn.Conv2d, outputs: Tensor, mean: float, std: float) -> None:
    """Scale and shift each output channel of a layer: outputs [N, channels] to the wanted mean and spread."""
    factor = std / outputs.std(0).clamp(min=1e-6)
    shift = outputs.mean(0)
    layer.weight.mul_(factor.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    assert layer.bias is not None
    layer.bias.sub_(shift).mul_(factor).add_(mean)


def _heads_of(model: TorchvisionMaskRCNN, image: Photograph) -> dict[str, Any]:
    """What the box head says of one image: logits, deltas, proposals, image shapes; masks are not computed."""
    kept: dict[str, Any] = {}

    def keep_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        kept["proposals"], kept["shapes"] = inputs[1], inputs[2]

    def keep_outputs(module: nn.Module, inputs: tuple[Any, ...], outputs: tuple[Tensor, Tensor]) -> None:
        kept["logits"], kept["deltas"] = outputs

    heads = model.roi_heads
    hooks = [
        heads.register_forward_pre_hook(keep_inputs),
        heads.box_predictor.register_forward_hook(keep_outputs),
    ]
    model([to_float(image)])
    for hook in hooks:
        hook.remove()
    return kept


def _count_objects(model: TorchvisionMaskRCNN, runs: Sequence[dict[str, Any]], background: float) -> list[int]:
    """Objects of each image when the background's logit is raised."""
    counts = []
    for run in runs:
        logits = run["logits"].clone()
        logits[:, 0] += background
        boxes, _, _ = model.roi_heads.postprocess_detections(logits, run["deltas"], run["proposals"], run["shapes"])
        counts.append(sum(len(found) for found in boxes))
    return counts


def _mask_logits_of(model: TorchvisionMaskRCNN, image: Photograph) -> Tensor:
    """[N, K + 1] mask logits of all cells of all objects of one image."""
    kept: list[Tensor] = []
    layer = model.roi_heads.mask_predictor.mask_fcn_logits
    hook = layer.register_forward_hook(lambda module, inputs, outputs: kept.append(outputs))
    model([to_float(image)])
    hook.remove()
    return kept[0].movedim(1, -1).flatten(0, -2)
