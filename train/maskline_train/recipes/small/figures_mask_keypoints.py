"""Stick figures, masks and keypoints: a small network for all three tasks on a CPU. Not the paper's network.

Command:  maskline-train data figures out/figures
          maskline-train fit figures_mask_keypoints --data out/figures --annotations person_keypoints --out out/run
              --init demo/base
Hardware: 2 CPU cores, 3 GB of memory.
Time, result: not measured.
"""

import dataclasses

from maskline_train.recipe import Recipe
from maskline_train.recipes.small import digits_base_again, figures_keypoints


def build(classes: tuple[str, ...]) -> Recipe:
    """The keypoint recipe with the digits demo's mask branch."""
    base = figures_keypoints.build(classes)
    mask_head = digits_base_again.network(classes).mask_head
    return dataclasses.replace(base, model=dataclasses.replace(base.model, mask_head=mask_head))
