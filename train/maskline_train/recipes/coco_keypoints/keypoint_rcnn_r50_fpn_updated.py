"""Keypoint R-CNN with ResNet-50-FPN on COCO persons: the longer schedule of the paper's appendix (ledger P65).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit keypoint_rcnn_r50_fpn_updated --data COCO
              --out runs/kp-r50-updated --annotations person_keypoints --train-split train2017 --val-split val2017
              --init resnet50.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper says about 1 keypoint AP more than the baseline (published: 65.1); not reproduced by us.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco_keypoints import keypoint_rcnn_r50_fpn
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The keypoint baseline, trained longer."""
    base = keypoint_rcnn_r50_fpn.build(classes)
    training = dataclasses.replace(base.training, steps=130_000, decay=StepDecay((100_000, 120_000), 0.1))
    return dataclasses.replace(base, training=training)
