"""Mask R-CNN with ResNeXt-101-FPN on COCO: trained on scales from 640 to 800 px, longer (ledger P40).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_x101_fpn_scales --data COCO
              --out runs/x101-scales --train-split train2017 --val-split val2017 --init resnext101_in5k.pth
Hardware: the paper trained on 8 GPUs, 1 image each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper's increments give 39.2 mask and 43.5 box AP, from ImageNet-5k weights; not reproduced by us.
"""

import dataclasses

from maskline_train.data.transforms import Augmentation
from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_x101_fpn_updated
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The updated baseline with another scale for each image."""
    base = mask_rcnn_x101_fpn_updated.build(classes)
    training = dataclasses.replace(base.training, steps=260_000, decay=StepDecay((200_000, 240_000), 0.1))
    augmentation = Augmentation(flip_probability=0.5, shorter_side_px=(640, 800))
    return dataclasses.replace(base, augmentation=augmentation, training=training)
