"""Mask R-CNN with ResNeXt-101-FPN on COCO: the updated baseline, end to end (ledger P37, P38, P39, P48).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit mask_rcnn_x101_fpn_updated --data COCO
              --out runs/x101-updated --train-split train2017 --val-split val2017 --init resnext101_64x4d.pth
Hardware: the paper trained on 8 GPUs, 1 image each; with fewer, add --total-batch (rate and schedule follow).
Time:     not in the paper, not measured by us.
Result:   the paper says 37.0 mask and 40.5 box AP trained in stages (`maskline-train four-step --unshared`), 37.6 and
          41.7 end to end; with --init from ImageNet-5k weights 38.6 and 42.7; not reproduced by us.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.coco import mask_rcnn_x101_fpn
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The ResNeXt recipe, longer, and with box NMS 0.5."""
    base = mask_rcnn_x101_fpn.build(classes)
    model = dataclasses.replace(base.model, box_head=dataclasses.replace(base.model.box_head, nms_thresh=0.5))
    training = dataclasses.replace(base.training, steps=180_000, decay=StepDecay((120_000, 160_000), 0.1))
    return dataclasses.replace(base, model=model, training=training)
