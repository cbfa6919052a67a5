"""Digits demo, base, 3 of 3: goes on from digits_base_again to what the demo ships. Not the paper's network.

Command:  maskline-train fit digits_base_last --data out/digits --out out/base_last --init out/base_again/last
Hardware: 2 CPU cores, 3 GB of memory.
Time and result: in demo/base/training.json.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import digits_base_again


def build(classes: tuple[str, ...]) -> Recipe:
    """The second round's recipe at a higher rate, in another order of images."""
    base = digits_base_again.build(classes)
    training = dataclasses.replace(base.training, steps=900, base_lr=1e-3, evaluate_every=450, seed=3)
    return dataclasses.replace(base, training=training)
