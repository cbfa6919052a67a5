"""Every packaged recipe, small: builds, loads, trains a step on made data, is saved, exported and verified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from maskline_export.stage_io import stage_names
from maskline_train.recipe import load_recipe, recipe_names
from recipe_chain import RecipeChain
from small_recipes import few_blocks


def num_stages(name: str) -> int:
    return len(stage_names(load_recipe(name)(("any",)).model))


# Models with all branches first: what they export need not be exported again for those with fewer.
NAMES = sorted(recipe_names(), key=lambda name: (-num_stages(name), name))


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecipeChain]:
    with pytest.MonkeyPatch.context() as patch:
        few_blocks(patch)
        yield RecipeChain(tmp_path_factory.mktemp("recipes"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_a_step_exports_and_verifies(name: str, chain: RecipeChain) -> None:
    chain.check(name)
