"""Mask R-CNN with ResNet-50-FPN on COCO, later heads: convolutions and group norms. Not in the paper.

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_r50_fpn_v2 --data COCO --out runs/r50_v2
              --train-split train2017 --val-split val2017 --init resnet50.pth
Hardware: as the paper's baseline, 8 GPUs of 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     not measured by us.
Result:   not measured by us.

The network that Li et al. 2021 (Benchmarking Detection Transfer Learning with Vision Transformers, "Upgraded Modules")
make of Mask R-CNN, and torchvision's `maskrcnn_resnet50_fpn_v2`: two convolutions in the RPN, four and one fully
connected layer in the box head, norms in the pyramid and in both heads. Differs: they have batch norms there and train
the body's; these are group norms, which need no large batch, behind a body whose norms are frozen (Wu and He 2018,
section 4.2). Schedule and augmentation are the baseline's.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_r50_fpn
from maskline_train.spec import RPNHeadSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The baseline with other heads, and norms wherever they exist."""
    base = mask_rcnn_r50_fpn.build(classes)
    spec = base.model
    assert spec.mask_head is not None
    model = dataclasses.replace(
        spec,
        backbone=dataclasses.replace(spec.backbone, fpn_norm="group"),
        rpn_head=RPNHeadSpec(num_convs=2),
        box_head=dataclasses.replace(spec.box_head, num_convs=4, num_fcs=1, norm="group"),
        mask_head=dataclasses.replace(spec.mask_head, norm="group"),
    )
    return dataclasses.replace(base, model=model)
