"""Your own data on a CPU, from the base checkpoint: a slim ResNet-18-FPN, minutes. Not the paper's network.

Command:  maskline-train fit finetune_cpu --data DATA --out runs/mine --init demo/base
Hardware: 2 CPU cores, 3 GB of memory.
Time:     see the result.
Result:   docs/data/your_data.md, of a set that a package ships: at 256 px, with more steps.

Meant for pictures of about 256 px with objects of 20 to 100 px; `maskline-train new DATA` writes this recipe with what
suits another set. Of the base checkpoint, which has seen digits on photographs, body, pyramid, RPN and most of the
heads are taken over; the last layers start at random, so the rate is that of new layers.
"""

import dataclasses

from maskline_train.data.transforms import Augmentation
from maskline_train.recipe import Recipe
from maskline_train.recipes.small import digits_base, digits_base_again


def build(classes: tuple[str, ...]) -> Recipe:
    """The base checkpoint's network, its optimisation shortened, mirrored pictures as well."""
    base = digits_base.build(classes)
    training = dataclasses.replace(
        base.training,
        steps=300,
        total_batch=4,
        reference_batch=4,
        warmup_steps=20,
        amp="off",  # any CPU
        checkpoint_every=100,
        evaluate_every=100,
        evaluate_images=100,
    )
    augmentation = Augmentation(flip_probability=0.5, shorter_side_px=(180, 256), colour_strength=0.3)
    return dataclasses.replace(
        base, model=digits_base_again.network(classes), augmentation=augmentation, training=training
    )
