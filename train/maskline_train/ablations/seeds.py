"""How much of a difference between rows is chance: one recipe, trained with three seeds."""

import dataclasses

from maskline_train.ablation import Change, Row, Table
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
