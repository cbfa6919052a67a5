"""Mask R-CNN with ResNet-50-FPN on Cityscapes, from a COCO model, class by class (ledger P71).

Command:  torchrun --nproc-per-node 8 -m maskline_train.cli fit cityscapes_r50_fpn_coco --data out/cityscapes
              --out runs/cityscapes-coco --init runs/r50/best
          maskline-train evaluate runs/cityscapes-coco/best --data out/cityscapes --cityscapes CITYSCAPES
Hardware: the paper trained on 8 GPUs, 1 image each; with fewer, add --total-batch (rate and schedule follow).
Time:     the paper says about 1 hour on 8 GPUs of 2017, given the COCO model; not measured by us.
Result:   the paper says 32.0 AP on test (38.0, 57.5 and 41.2 for truck, bus and train on val); the published table
          gives 36.4 AP on val; not reproduced by us.

`--init` must be the folder of a checkpoint of `mask_rcnn_r50_fpn`: its model.json says which row is which class;
rider, which COCO does not know, starts at random.
The paper gives no rate for this run: the fine-only one, reduced by 10 at 3k.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.cityscapes import cityscapes_r50_fpn
from maskline_train.training.schedule import StepDecay


def build(classes: tuple[str, ...]) -> Recipe:
    """The fine-only recipe with a sixth of its steps."""
    base = cityscapes_r50_fpn.build(classes)
    training = dataclasses.replace(
        base.training, steps=4_000, decay=StepDecay(milestones=(3_000,), factor=0.1), evaluate_every=2_000
    )
    return dataclasses.replace(base, training=training)
