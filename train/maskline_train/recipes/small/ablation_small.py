"""Digits, small: the base recipe of the ablations on a CPU. Not the paper's network.

Command:  maskline-train data digits out/digits
          maskline-train ablate table_2b --data out/digits --out out/ablations --init demo/base
Hardware: one CPU core, 2 GB of memory.
Time, result: docs/ablations.md.

The trunk and the RPN start from the demo's checkpoint, the heads from random weights, whatever the row: the heads are
what most tables compare, and what starts trained would need no training. Images are small, heads slim and the finer
half of the body frozen, so that a row takes about a minute of one core.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import digits_demo


def build(classes: tuple[str, ...]) -> Recipe:
    """The demo's fine-tuning on smaller images with slimmer heads, at the rate of new layers."""
    base = digits_demo.build(classes)
    assert base.model.mask_head is not None
    model = dataclasses.replace(
        base.model,
        preprocessing=dataclasses.replace(
            base.model.preprocessing,
            shorter_side_px=160,
            longer_side_px=192,
            canvases=((160, 192), (192, 160), (192, 192)),
        ),
        backbone=dataclasses.replace(base.model.backbone, frozen_stages=3),  # res2 and res3 are most of its work
        box_head=dataclasses.replace(base.model.box_head, hidden=128),
        mask_head=dataclasses.replace(base.model.mask_head, num_convs=2, channels=48, hidden=256),
    )
    return dataclasses.replace(
        base,
        model=model,
        sampling=dataclasses.replace(base.sampling, roi_samples=48, roi_positive_fraction=0.33),
        augmentation=dataclasses.replace(base.augmentation, shorter_side_px=(128, 160)),
        training=dataclasses.replace(
            base.training,
            steps=120,
            total_batch=4,
            reference_batch=4,
            base_lr=2e-3,
            warmup_steps=10,
            checkpoint_every=40,
            evaluate_every=1_000,  # at the end alone
            evaluate_images=60,
        ),
    )
