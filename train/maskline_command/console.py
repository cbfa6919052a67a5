"""Where commands print: what they found on stdout, what is going on on stderr."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

WIDE = 4096  # columns of what is no terminal: a table is never cut there


def results() -> Console:
    """Stdout. [words] and :words: of a path or name are printed as they are."""
    return Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else WIDE)


def progress(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """A bar on a terminal's stderr, which leaves nothing behind; nothing elsewhere."""
    console = Console(stderr=True, markup=False, emoji=False)
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal and not console.is_dumb_terminal),
    )


def waiting(text: str, *, shown: bool = True) -> Progress:
    """What is done meanwhile, and for how long, on a terminal's stderr, while the `with` block works."""
    shown = shown and os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts one talks
    line = progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), shown=shown)
    line.add_task(text, total=None)
    return line
