"""The bar of the commands that work through many images."""

from __future__ import annotations

from maskline_command.console import progress as progress_bar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress() -> Progress:
    """How many images are done, and how long the rest may take."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return progress_bar(*columns, TimeElapsedColumn(), TimeRemainingColumn())
