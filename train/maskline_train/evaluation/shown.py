"""An evaluation as a command shows it: a bar on a terminal, and an answer to Ctrl-C."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.evaluation.evaluate import EvaluationStopped, Metrics, evaluate
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.training.interruption import Signals


def evaluate_shown(model: MaskRCNN, dataset: CocoDataset, processes: Processes, title: str, **options: Any) -> Metrics:
    """`evaluate` with its `options`, under a bar on the stderr of the main process where that is a terminal.

    Raises:
        typer.Exit: SIGINT or SIGTERM came to any process; with what the shell expects then, after one line.
    """
    console = Console(stderr=True, markup=False, emoji=False, soft_wrap=True, highlight=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = processes.is_main and console.is_terminal
    done_images = of_images = 0
    with (
        Signals(announce=processes.is_main) as signals,
        Progress(*columns, console=console, transient=True, disable=not shown) as progress,
    ):
        task = progress.add_task(title, total=None)

        def advance(done: int, count: int) -> int:
            nonlocal done_images, of_images
            done_images, of_images = done, count
            progress.update(task, completed=done, total=count)
            return signals.received

        try:
            return evaluate(model, dataset, processes, **options, advance=advance)
        except EvaluationStopped as stop:
            number = stop.number
    if processes.is_main:
        console.print(f"maskline-train: stopped after {done_images} of {of_images} images; nothing was written")
    raise typer.Exit(128 + number)
