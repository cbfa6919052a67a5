"""What the step is made on: a batch of the training loader, and a model with its optimizer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import Batch, train_loader
from maskline_train.data.transforms import Augmentation
from maskline_train.recipe import TrainingSpec
from maskline_train.spec import PreprocessingSpec
from maskline_train.training.state import TrainingState

from maskline_bench.our_training import made_peer, our_training
from maskline_bench.peers import photographs
from maskline_bench.train_data.made import make_folder

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
    return our_training(made_peer(photographs(height, width)[:size], height, width), size, device)
