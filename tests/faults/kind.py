"""What a kind of fault is, and how it may end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from faults.scene import Scene


class CannotRunError(Exception):
    """This machine cannot make the fault; the text says what it lacks."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A fault, what is expected of it, and the code that makes it and looks.

    Attributes:
        name: for `ONLY=`.
        fault: what happens, in words.
        expects: what was written down before it was tried.
        check: makes the fault on a real server; returns figures in words, raises AssertionError where the expectation
            does not hold and CannotRunError where the machine cannot make it.
    """

    name: str
    fault: str
    expects: str
    check: Callable[[Scene], str]
