"""What ends a benchmark, and how a command says so."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from maskline_command.ending import error_line
from maskline_host import HostLibraryError
from rich.console import Console


class BenchmarkError(RuntimeError):
    """No time can be told: the two sides do not compute the same thing, or a library is not to be had or refuses."""


@contextlib.contextmanager
def in_one_line(command: str) -> Iterator[None]:
    """Within: an expected failure becomes one line on stderr and exit status 1, around `typer.run` as in a command.

    Expected are a BenchmarkError and, as in all commands of ours, an OSError or a ValueError.
    """
    try:
        yield
    except (BenchmarkError, OSError, ValueError) as error:
        Console(stderr=True, markup=False).print(f"{command}: {error_line(error)}", style="red", soft_wrap=True)
        raise SystemExit(1) from error


@contextlib.contextmanager
def refusals_told() -> Iterator[None]:
    """Within: what a library of ours refuses becomes a BenchmarkError of the same text."""
    try:
        yield
    except HostLibraryError as error:
        raise BenchmarkError(str(error)) from error
