"""Mask R-CNN with ResNeXt-152-FPN and a non-local block on COCO: the paper's best model (ledger P27, P41, P46).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_x152_fpn_nl --data COCO --out runs/x152-nl
              --train-split train2017 --val-split val2017 --init resnext152_in5k.pth
          maskline-train evaluate runs/x152-nl/best --data COCO --split val2017 --tta
Hardware: the paper trained on 8 GPUs, 1 image each; with fewer, add --total-batch (rate and schedule follow).
Time:     training: not in the paper, not measured by us. The paper says 3 images a second on a Tesla P100.
Result:   the paper says 40.3 mask and 45.0 box AP, 41.8 and 47.3 with --tta; not reproduced by us.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_x152_fpn


def build(classes: tuple[str, ...]) -> Recipe:
    """The ResNeXt-152 recipe with the block in its body."""
    base = mask_rcnn_x152_fpn.build(classes)
    backbone = dataclasses.replace(base.model.backbone, non_local=True)
    return dataclasses.replace(base, model=dataclasses.replace(base.model, backbone=backbone))
