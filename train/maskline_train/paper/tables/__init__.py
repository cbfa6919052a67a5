"""The paper's tables as lists of rows: one file a table, each with `TABLE`. `maskline-train ablate` runs them."""

from __future__ import annotations

import importlib
import pkgutil

from maskline_train.paper.table import Table


def table_names() -> dict[str, str]:
    """The packaged tables: name to title."""
    return {module.name: load_table(module.name).title for module in pkgutil.iter_modules(__path__)}


def load_table(name: str) -> Table:
    """A packaged table.

    Raises:
        ValueError: no such table.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    if name not in names:
        raise ValueError(f"table: got {name!r}, expected one of {', '.join(names)}")
    table = importlib.import_module(f"{__name__}.{name}").TABLE
    assert isinstance(table, Table)
    return table
