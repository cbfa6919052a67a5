"""Every packaged recipe, small: builds, loads, trains a step on made data, is saved, exported and verified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from maskline_train.recipes import load_recipe, recipe_names
from support.models.recipe_chain import RecipeChain
from support.models.small_recipes import few_blocks, parts


def num_parts(name: str) -> int:
    return len(parts(load_recipe(name)(("any",)).model))


# Those of most parts first: what they export need not be exported again for those of fewer.
NAMES = sorted(recipe_names(), key=lambda name: (-num_parts(name), name))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecipeChain]:
    with pytest.MonkeyPatch.context() as patch:
        few_blocks(patch)
        yield RecipeChain(tmp_path_factory.mktemp("recipes"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_a_step_exports_and_verifies(name: str, chain: RecipeChain) -> None:
    chain.check(name)
