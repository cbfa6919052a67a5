"""Digits, small, with the heads of the demo checkpoint: the base of table 7. Not the paper's network.

Command:  maskline-train data digits out/few --seed 7 --train-images 60 --val-images 60
          maskline-train ablate table_7 --data out/few --out out/ablations --init demo/base
Hardware: one CPU core, 2 GB of memory.
Time, result: docs/ablations.md.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import ablation_small, digits_demo


def build(classes: tuple[str, ...]) -> Recipe:
    """The small recipe with heads that fit the checkpoint, at the gentler rate of what is partly trained."""
    small, demo = ablation_small.build(classes), digits_demo.build(classes)
    model = dataclasses.replace(small.model, box_head=demo.model.box_head, mask_head=demo.model.mask_head)
    training = dataclasses.replace(small.training, base_lr=1e-3)
    return dataclasses.replace(small, model=model, training=training)
