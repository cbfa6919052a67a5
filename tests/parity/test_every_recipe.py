"""Every packaged recipe, small: builds, loads, trains a step on made data, is saved; exported and verified."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from maskline_train.recipes import load_recipe, recipe_names
from support.models.recipe_chain import RecipeChain, with_every_part
from support.models.small_recipes import few_blocks, parts


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecipeChain]:
    with pytest.MonkeyPatch.context() as patch:
        few_blocks(patch)
        yield RecipeChain(tmp_path_factory.mktemp("recipes"))


# In every run as few as have every part of a network among them; the others differ in sizes and schedules.
@pytest.mark.parametrize(
    "name",
    [name if name in with_every_part() else pytest.param(name, marks=pytest.mark.long) for name in recipe_names()],
)
def test_a_recipe_trains_a_step(name: str, chain: RecipeChain) -> None:
    chain.check(name)


# As few as have every part of a network among them: an export takes seconds. `make test` exports those parts in
# test_variants.py, and takes a recipe through the whole chain in tests/contract/documents/test_readme.py.
@pytest.mark.long
@pytest.mark.parametrize("name", sorted(with_every_part()))
def test_a_trained_recipe_exports_and_verifies(name: str, chain: RecipeChain) -> None:
    chain.check(name)
    chain.export_and_verify(name)


def test_the_exported_recipes_have_every_part() -> None:
    of = {name: parts(load_recipe(name)(("any",)).model) for name in recipe_names()}
    chosen = with_every_part()
    assert frozenset().union(*(of[name] for name in chosen)) == frozenset().union(*of.values())
