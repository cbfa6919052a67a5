"""What the step is made on: a batch of the training loader, and a model with its optimizer."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import torch
from maskline_train.convert.from_torchvision import import_torchvision
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import Batch, train_loader
from maskline_train.data.transforms import Augmentation
from maskline_train.recipe import TrainingSpec
from maskline_train.recipes.coco import mask_rcnn_r50_fpn
from maskline_train.spec import PreprocessingSpec
from maskline_train.training.state import TrainingState
from torch.amp.grad_scaler import GradScaler

from maskline_bench.peers import NORM_EPS, class_names, photographs, torchvision_model
from maskline_bench.train_data.made import make_folder

LEARNING_RATE = 1e-4  # random weights after a warm-up; the time of a step does not depend on it
_LONGER_OF_SHORTER = 1333 / 800  # the baseline's


def made_batch(shorter_side: int, size: int) -> Batch:
    """The first batch of bench-data's files, as training reads it, on the host."""
    spec = PreprocessingSpec(shorter_side_px=shorter_side, longer_side_px=round(shorter_side * _LONGER_OF_SHORTER))
    with tempfile.TemporaryDirectory(prefix="maskline-step-") as folder:
        dataset = CocoDataset(make_folder(Path(folder), size), "train")
        return next(train_loader(dataset, spec, batch_size=size, seed=0, augmentation=Augmentation()))


def made_training(batch: Batch, device: torch.device) -> tuple[TrainingState, TrainingSpec]:
    """ResNet-50-FPN with random weights on the device, and how the packaged recipe trains it."""
    size, height, width = batch.canvas.shape[:3]
    photos = photographs(height, width)[:size]
    peer = torchvision_model(photos, min_size=height, max_size=max(height, width), _skip_resize=True)
    model = import_torchvision(peer.state_dict(), class_names(), NORM_EPS).train().to(device)
    training = dataclasses.replace(
        mask_rcnn_r50_fpn.build(model.spec.classes).training, total_batch=size, reference_batch=size,
        base_lr=LEARNING_RATE, warmup_steps=0, amp="bf16" if device.type == "cuda" else "off",
    )  # fmt: skip
    if training.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = training.build_optimizer(model, device)
    return TrainingState(model, optimizer, GradScaler(device.type, enabled=False), None), training
