"""Digits demo, base, 2 of 3: goes on from digits_base with finer features. Not the paper's network.

Command:  maskline-train fit digits_base_again --data out/digits --out out/base_again --init out/base/last
Hardware: 2 CPU cores, 3 GB of memory.
Time and result: in demo/base/training.json.

The first round read digits above 48 px from P3 (stride 8); their strokes are about one cell wide there, and masks came
out far worse than boxes. Here the canonical size is the paper's, so that every digit is read from P2.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import digits_base
from maskline_train.spec import ModelSpec, RoIAlignSpec


def network(classes: tuple[str, ...]) -> ModelSpec:
    """The demo's network as it is shipped."""
    return dataclasses.replace(digits_base.network(classes), roi_align=RoIAlignSpec())


def build(classes: tuple[str, ...]) -> Recipe:
    """The first round's recipe with a second, shorter cosine in another order of images."""
    base = digits_base.build(classes)
    training = dataclasses.replace(base.training, steps=900, base_lr=8e-4, warmup_steps=50, evaluate_every=300, seed=2)
    return dataclasses.replace(base, model=network(classes), training=training)
