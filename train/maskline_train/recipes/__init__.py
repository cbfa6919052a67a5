"""Recipes: one Python file a training run, in rooms by what they train on. `maskline-train recipes` lists them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import cast

from maskline_train.recipe import Recipe


def load_recipe(name_or_path: str) -> Callable[[tuple[str, ...]], Recipe]:
    """The `build` function of a recipe.

    Args:
        name_or_path: a name from `recipe_names()`, or the path of a `.py` file.

    Raises:
        ValueError: no such recipe, or the file defines no `build`.
    """
    module = _load_module(name_or_path)
    build = getattr(module, "build", None)
    if not callable(build):
        raise ValueError(f"recipe {name_or_path}: got no function `build`, expected build(classes) -> Recipe")
    return cast(Callable[[tuple[str, ...]], Recipe], build)


def recipe_names() -> dict[str, str]:
    """The packaged recipes: name to the first line of its header."""
    return {name: (_load_module(name).__doc__ or "").strip().split("\n", 1)[0] for name in _packaged()}


def _packaged() -> dict[str, Path]:
    """Name to file, room by room."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*/*.py")) if path.stem != "__init__"}


def _load_module(name_or_path: str) -> ModuleType:
    """Import a packaged recipe or a file."""
    path = Path(name_or_path)
    if path.suffix != ".py":
        packaged = _packaged()
        if name_or_path not in packaged:
            raise ValueError(f"recipe: got {name_or_path!r}, expected a .py file or one of {', '.join(packaged)}")
        path = packaged[name_or_path]
    if not path.is_file():
        raise ValueError(f"recipe {name_or_path}: no such file; `maskline-train recipes` lists the packaged ones")
    spec = importlib.util.spec_from_file_location(f"maskline_recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
