"""Our training of a made ResNet-50-FPN, as the packaged recipe has it, for benchmarks of a step."""

from __future__ import annotations

import dataclasses

import torch
from maskline_train.convert.from_torchvision import import_torchvision
from maskline_train.recipe import TrainingSpec
from maskline_train.recipes.coco import mask_rcnn_r50_fpn
from maskline_train.training.state import TrainingState
from maskline_train.training.step import compile_parts
from torch.amp.grad_scaler import GradScaler
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.peers import NORM_EPS, Photograph, class_names, torchvision_model

# Random weights after a warm-up; a trained network's rate would do as well, the time of a step does not depend on it.
LEARNING_RATE = 1e-4


def made_peer(photos: list[Photograph], height: int, width: int) -> TorchvisionMaskRCNN:
    """Torchvision's network with random weights, for a canvas of (height, width), resizing left out."""
    return torchvision_model(photos, min_size=height, max_size=max(height, width), _skip_resize=True)


def our_training(
    peer: TorchvisionMaskRCNN, batch_size: int, device: torch.device, *, compiled: bool = False
) -> tuple[TrainingState, TrainingSpec]:
    """Ours with the weights of `peer` on the device, and how the recipe trains it: in its precision on a GPU alone."""
    model = import_torchvision(peer.state_dict(), class_names(), NORM_EPS).train().to(device)
    recipe = mask_rcnn_r50_fpn.build(model.spec.classes).training
    training = dataclasses.replace(
        recipe, total_batch=batch_size, reference_batch=batch_size, base_lr=LEARNING_RATE, warmup_steps=0,
        amp=recipe.amp if device.type == "cuda" else "off",
    )  # fmt: skip
    if training.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        compile_parts(model)
    optimizer = training.build_optimizer(model, device)
    return TrainingState(model, optimizer, GradScaler(device.type, enabled=False), None), training
