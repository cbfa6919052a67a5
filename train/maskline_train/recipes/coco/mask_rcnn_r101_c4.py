"""Mask R-CNN with ResNet-101-C4 on COCO (ledger P16, P21, P32, P45).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_r101_c4 --data COCO --out runs/r101_c4
              --train-split train2017 --val-split val2017 --init resnet101.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     the text gives none for training; about 400 ms an image at test time.
Result:   the published table gives 32.7 mask AP on minival; not reproduced by us.

Differs from the paper: as mask_rcnn_r50_c4.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_r50_c4
from maskline_train.spec import BackboneSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe for these classes, in data set order."""
    base = mask_rcnn_r50_c4.build(classes)
    model = dataclasses.replace(
        base.model,
        backbone=BackboneSpec(depth=101, features="c4"),
    )
    return dataclasses.replace(base, model=model)
