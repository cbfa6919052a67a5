"""Digits demo: fine-tunes the base checkpoint for a few minutes on a CPU. Not the paper's network.

Command:  maskline-train fit digits_demo --data out/digits --out out/run --init demo/base
Hardware: 2 CPU cores, 3 GB of memory.
Time:     about 2 minutes.
Result:   see the report that `make demo` writes.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import digits_base_last


def build(classes: tuple[str, ...]) -> Recipe:
    """The base recipe with another optimisation: short, at a gentle rate."""
    base = digits_base_last.build(classes)
    training = dataclasses.replace(
        base.training,
        steps=150,
        base_lr=3e-4,
        warmup_steps=20,
        amp="off",  # any CPU
        checkpoint_every=50,
        evaluate_every=150,
        evaluate_images=None,
        seed=4,  # another order of images than the base saw
    )
    return dataclasses.replace(base, training=training)
