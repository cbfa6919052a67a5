"""Digits, small, enlarged for features of stride 32: the base of table 2d. Not the paper's network.

Command:  maskline-train data digits out/digits
          maskline-train ablate table_2d --data out/digits --out out/ablations --init demo/base
Hardware: one CPU core, 2 GB of memory.
Time, result: docs/ablations.md.

On the other small images a digit is one or two cells of C5, and nothing is learned there in this time.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import ablation_small


def build(classes: tuple[str, ...]) -> Recipe:
    """The small recipe on C5, on images enlarged twice, of which all but the last stage of the body is frozen."""
    base = ablation_small.build(classes)
    preprocessing = dataclasses.replace(
        base.model.preprocessing,
        shorter_side_px=384,
        longer_side_px=512,
        canvases=((384, 512), (512, 384), (512, 512)),
    )
    model = dataclasses.replace(
        base.model,
        preprocessing=preprocessing,
        backbone=dataclasses.replace(base.model.backbone, features="c5", frozen_stages=4),
        anchors=dataclasses.replace(base.model.anchors, sizes_px=(32.0, 64.0, 128.0, 192.0)),
    )
    augmentation = dataclasses.replace(base.augmentation, shorter_side_px=(320, 384))
    training = dataclasses.replace(base.training, steps=400)
    return dataclasses.replace(base, model=model, augmentation=augmentation, training=training)
