"""Keypoint R-CNN with ResNeXt-101-FPN on COCO persons (ledger P66).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit keypoint_rcnn_x101_fpn --data COCO
              --out runs/kp-x101 --annotations person_keypoints --train-split train2017 --val-split val2017
              --init resnext101_64x4d.pth
Hardware: as for the segmentation baseline of this body, 8 GPUs with 1 image each; with fewer, add --total-batch.
Time:     not in the paper, not measured by us.
Result:   the paper says 67.3 keypoint AP; not reproduced by us.

The text does not say which ResNeXt-101: 64 groups of 4, as the published tables do; nor its batch: that of P34.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco_keypoints import keypoint_rcnn_r50_fpn_updated
from maskline_train.spec import BackboneSpec


def build(classes: tuple[str, ...]) -> Recipe:
    """The updated keypoint baseline with another body and half of its images a step."""
    base = keypoint_rcnn_r50_fpn_updated.build(classes)
    model = dataclasses.replace(base.model, backbone=BackboneSpec(depth=101, groups=64, width_per_group=4))
    training = dataclasses.replace(base.training, total_batch=8, base_lr=0.01, reference_batch=8)
    return dataclasses.replace(base, model=model, training=training)
