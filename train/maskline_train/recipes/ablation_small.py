"""Digits, small: the base recipe of the ablations on a CPU. Not the paper's network.

Command:  maskline-train ablate table_2b --data out/digits --out out/ablations --init demo/base
Hardware: 2 CPU cores, 3 GB of memory.
Time:     about two minutes a row.
Result:   the table that the command prints; the differences between rows are what to look at, not the figures.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes import digits_demo


def build(classes: tuple[str, ...]) -> Recipe:
    """The demo's fine-tuning with fewer evaluations; a variant's own layers start from random weights."""
    base = digits_demo.build(classes)
    training = dataclasses.replace(base.training, base_lr=6e-4, checkpoint_every=150, evaluate_images=100)
    return dataclasses.replace(base, training=training)
