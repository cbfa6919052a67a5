"""What test_ddp.py runs under torchrun, and by itself: gradients of one batch, then a short run."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import train_loader
from maskline_train.distributed import Processes, process_group
from maskline_train.fit import fit
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.model.sampling import SamplingSpec
from maskline_train.recipe import Recipe
from maskline_train.spec import KeypointHeadSpec
from support.data.shapes_data import CORNERS, FLIP_PAIRS
from support.models import tiny_recipe
from torch import nn
from torch.nn.parallel import DistributedDataParallel

TOTAL_BATCH = 4


def recipe(classes: tuple[str, ...]) -> Recipe:
    """The tiny recipe without what depends on how a batch is cut: batch norm's statistics. Some of all are sampled."""
    tiny = tiny_recipe.build(classes)
    sampling = SamplingSpec(rpn_samples=48, roi_samples=16, pre_nms_per_level=40, max_proposals=40)
    backbone = dataclasses.replace(tiny.model.backbone, norm="frozen_batch")
    training = dataclasses.replace(
        tiny.training, total_batch=TOTAL_BATCH, steps=3, base_lr=0.01, reference_batch=TOTAL_BATCH, evaluate_images=5
    )
    corners = KeypointHeadSpec(names=CORNERS, flip_pairs=FLIP_PAIRS, pooled_side=4, num_convs=1, channels=4)
    model = dataclasses.replace(tiny.model, backbone=backbone, keypoint_head=corners)
    return dataclasses.replace(tiny, model=model, sampling=sampling, training=training)


def gradients(data: CocoDataset, processes: Processes) -> dict[str, torch.Tensor]:
    """Gradients of the first batch."""
    chosen = recipe(data.classes)
    torch.manual_seed(0)
    model = MaskRCNN(chosen.model, chosen.sampling).train()
    network: nn.Module = DistributedDataParallel(model) if processes.world > 1 else model
    batch = next(
        train_loader(
            data,
            chosen.model.preprocessing,
            batch_size=processes.share_of(TOTAL_BATCH),
            seed=0,
            augmentation=chosen.augmentation,
            keypoint_head=chosen.model.keypoint_head,
            rank=processes.rank,
            world_size=processes.world,
        )
    )
    first = processes.rank * len(batch.canvas)
    keys = image_keys(0, 0, range(first, first + len(batch.canvas)))
    losses = network(batch.canvas, batch.image_info, batch.truth, keys)
    sum(losses.values()).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def main() -> None:
    """Argument 1: the data set; argument 2: the folder to write into."""
    torch.set_num_threads(1)
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    train, val = CocoDataset(root, "train"), CocoDataset(root, "val")
    with process_group() as processes:
        found = gradients(train, processes)
        if processes.is_main:
            torch.save(found, out / "gradients.pt")
        fit(recipe(train.classes), train, val, out / "run", processes)


if __name__ == "__main__":
    main()
