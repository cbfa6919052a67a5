"""Run a command of ours in this process: starting Python with torch takes seconds."""

from __future__ import annotations

import contextlib
import functools
import resource
import sys
from collections.abc import Callable, Iterator

import pytest
import typer.main

# A package's commands are the same at each call; typer makes them anew, from the type hints of all of them.
COMMANDS = functools.cache(typer.main.get_command)


def call(main: Callable[[], None], *words: str) -> int:
    """Call `main` with these words as its command line; returns the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [main.__module__, *words])
        patch.setattr(typer.main, "get_command", COMMANDS)
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@contextlib.contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """As on a full disk: no file that this process writes meanwhile gets more bytes than so many."""
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
