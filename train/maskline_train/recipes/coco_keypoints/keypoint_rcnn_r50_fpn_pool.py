"""Keypoint R-CNN with RoIPool in place of RoIAlign, on COCO persons (ledger P64).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit keypoint_rcnn_r50_fpn_pool --data COCO
              --out runs/kp-r50-pool --annotations person_keypoints --train-split train2017 --val-split val2017
              --init resnet50.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper says 4.4 keypoint AP less than with RoIAlign (published: 59.8 and 64.2); not reproduced by us.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco_keypoints import keypoint_rcnn_r50_fpn
from maskline_train.spec import RoIAlignSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The keypoint baseline with the other operator."""
    base = keypoint_rcnn_r50_fpn.build(classes)
    return dataclasses.replace(base, model=dataclasses.replace(base.model, roi_align=RoIAlignSpec(mode="pool")))
