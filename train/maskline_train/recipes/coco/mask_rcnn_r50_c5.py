"""Mask R-CNN with ResNet-50-C5, stride 32, on COCO (ledger P14, P22).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_r50_c5 --data COCO --out runs/r50_c5
              --train-split train2017 --val-split val2017 --init resnet50.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     the text gives none.
Result:   the text gives 30.9 mask AP on minival (trainval35k, trained in stages); not reproduced by us.

Differs from the paper: end-to-end joint training, 118k `train2017`; 300 proposals and 64 RoIs as for C4, since the text
is silent.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_r50_fpn
from maskline_train.spec import BackboneSpec, BoxHeadSpec, ProposalSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The recipe for these classes, in data set order."""
    base = mask_rcnn_r50_fpn.build(classes)
    model = dataclasses.replace(
        base.model,
        backbone=BackboneSpec(depth=50, features="c5"),
        proposals=ProposalSpec(pre_nms_per_level=6_000, max_proposals=300),
        box_head=BoxHeadSpec(nms_thresh=0.3),  # P48
    )
    return dataclasses.replace(
        base,
        model=model,
        sampling=dataclasses.replace(base.sampling, roi_samples=64),  # P32: 64 RoIs an image for C4
    )
