"""A choice with its reason."""

from __future__ import annotations

from typing import Any, NamedTuple


class Choice(NamedTuple):
    """One number, or several, of a recipe.

    Attributes:
        field: where it belongs, by attributes from the recipe on, e.g. `model.preprocessing.shorter_side_px`.
        value: what it is set to.
        reason: sentences for the reader of the recipe; empty where it follows from the field before.
    """

    field: str
    value: Any
    reason: str
