"""Names that say a side, which a mirror changes."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OTHERS = {"left": "right", "right": "left", "l": "r", "r": "l"}
# Words of a name: `left_eye`, `Left Eye`, `eyeLeft`, `LEFT`, `eye-l`, `kneeL`.
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^A-Za-z]+")


def sides(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs (left, right) of the names that become each other in a mirror, in the order of the left ones."""
    known = {_key(name): name for name in names}
    found = []
    for name in names:
        words = _words(name)
        for place, word in enumerate(words):
            if word in ("left", "l"):
                other = known.get((*words[:place], _OTHERS[word], *words[place + 1 :]))
                if other is not None:
                    found.append((name, other))
                    break
    return tuple(found)


def names_a_side(name: str) -> bool:
    """Whether a name has left or right as a word of its own."""
    return bool({"left", "right"} & set(_words(name)))


def _key(name: str) -> tuple[str, ...]:
    return tuple(_words(name))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]
