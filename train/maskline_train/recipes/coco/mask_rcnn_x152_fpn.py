"""Mask R-CNN with ResNeXt-152-FPN on COCO: the appendix' deeper model (ledger P26).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_x152_fpn --data COCO --out runs/x152
              --train-split train2017 --val-split val2017 --init resnext152_in5k.pth
Hardware: the paper trained on 8 GPUs, 1 image each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper's increments give 39.7 mask and 44.1 box AP, from ImageNet-5k weights; not reproduced by us.

The text does not say which ResNeXt-152: 32 groups of 8, as the authors' published model.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_x101_fpn_scales
from maskline_train.spec import BackboneSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe with scale augmentation and another body."""
    base = mask_rcnn_x101_fpn_scales.build(classes)
    model = dataclasses.replace(base.model, backbone=BackboneSpec(depth=152, groups=32, width_per_group=8))
    return dataclasses.replace(base, model=model)
