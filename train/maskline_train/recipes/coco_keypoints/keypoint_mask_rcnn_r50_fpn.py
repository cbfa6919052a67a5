"""Boxes, masks and keypoints of persons in one model with ResNet-50-FPN, on COCO (ledger P62, P63).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit keypoint_mask_rcnn_r50_fpn --data COCO
              --out runs/kp-mask-r50 --annotations person_keypoints --train-split train2017 --val-split val2017
              --init resnet50.pth
Hardware: the paper trained on 8 GPUs, 2 images each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us; the paper's model answers 5 images a second on a GPU of 2017.
Result:   the paper says 63.1 keypoint AP on test-dev; the published table gives 52.0 box, 45.1 mask and 64.7 keypoint
          AP on minival; not reproduced by us.

Differs from the paper: end-to-end joint training, 118k `train2017`.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco_keypoints import keypoint_rcnn_r50_fpn
from maskline_train.spec import MaskHeadSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The keypoint baseline with the mask branch of the segmentation baseline."""
    base = keypoint_rcnn_r50_fpn.build(classes)
    return dataclasses.replace(base, model=dataclasses.replace(base.model, mask_head=MaskHeadSpec()))
