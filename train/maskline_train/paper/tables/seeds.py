"""How much of a difference between rows is chance: one recipe, trained with three seeds.

Small:    maskline-train ablate seeds --data out/digits --out out/ablations --init demo/base
Full:     torchrun --nproc-per-node 8 -m maskline_train.cli ablate seeds --recipe mask_rcnn_r50_fpn
              --data COCO --train-split train2017 --val-split val2017 --out runs/ablations --init resnet50.pth
Hardware: small, a CPU core and 2 GB of memory; full, the 8 GPUs of the paper (with fewer, add --total-batch).
Time:     small, in docs/ablations.md; full, 32 hours a row on GPUs of 2017, says the paper.
"""

import dataclasses

from maskline_train.paper.table import Change, Row, Table
from maskline_train.recipe import Recipe


def _seed(number: int) -> Change:
    """Other random weights, other images in another order."""

    def change(recipe: Recipe) -> Recipe:
        seed = recipe.training.seed + number
        return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, seed=seed))

    return change


TABLE = Table(
    title="The base recipe with three seeds",
    setting="no table of the paper",
    finding="What differs less in another table than these rows do says nothing.",
    kinds=("box", "mask"),
    rows=tuple(Row(f"seed {number}", "P01", _seed(number), {}) for number in range(3)),
)
