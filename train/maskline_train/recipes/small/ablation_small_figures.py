"""Stick figures, small: the base recipe of the keypoint ablations on a CPU. Not the paper's network.

Command:  maskline-train data figures out/figures
          maskline-train ablate table_6 --data out/figures --out out/ablations --init demo/base
Hardware: one CPU core, 2 GB of memory.
Time, result: docs/ablations.md.

Of the start as in `ablation_small`: the trunk, which has seen digits only, and the RPN; not the heads.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import ablation_small, figures_mask_keypoints


def build(classes: tuple[str, ...]) -> Recipe:
    """Boxes, masks and keypoints on small images, with the small recipe's optimisation."""
    base, small = figures_mask_keypoints.build(classes), ablation_small.build(classes)
    keypoint_head = base.model.keypoint_head
    assert keypoint_head is not None
    model = dataclasses.replace(small.model, keypoint_head=dataclasses.replace(keypoint_head, num_convs=2, channels=48))
    augmentation = dataclasses.replace(small.augmentation, flip_probability=0.5)  # left and right are named
    return dataclasses.replace(small, model=model, augmentation=augmentation)
