"""Keypoint R-CNN with ResNet-101-FPN on COCO persons (ledger P66).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit keypoint_rcnn_r101_fpn --data COCO
              --out runs/kp-r101 --annotations person_keypoints --train-split train2017 --val-split val2017
              --init resnet101.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper says 66.1 keypoint AP; not reproduced by us.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco_keypoints import keypoint_rcnn_r50_fpn_updated
from maskline_train.spec import BackboneSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The updated keypoint baseline with a deeper body."""
    base = keypoint_rcnn_r50_fpn_updated.build(classes)
    return dataclasses.replace(base, model=dataclasses.replace(base.model, backbone=BackboneSpec(depth=101)))
