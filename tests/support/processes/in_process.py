"""Run a command of ours in this process: starting Python with torch takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


def call(main: Callable[[], None], *words: str) -> int:
    """Call `main` with these words as its command line; returns the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [main.__module__, *words])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0
