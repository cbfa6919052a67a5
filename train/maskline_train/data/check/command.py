"""`maskline-train data check`: everything that training would stumble over, before it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from maskline_command.console import progress
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from maskline_train.options import Kind


def check_command(
    data: Annotated[Path, typer.Argument(help="Folder with annotations/instances_SPLIT.json and SPLIT/.")],
    split: Annotated[list[str], typer.Option(help="Split to check; may be given several times.")] = ["train", "val"],  # noqa: B006
    annotations: Kind = "instances",
    headers: Annotated[
        bool, typer.Option("--headers", help="Look at image headers alone: soon done, finds no file that is cut off.")
    ] = False,
) -> None:
    """Check annotations and images of a data set: decode each image, say what training will not use.

    What is no mistake and hardly meant, such as boxes in another format, is a warning.

    Example: maskline-train data check coco --split train2017 --split val2017
    """
    from maskline_train.data.check.findings import in_both, said_of_both, said_of_dark
    from maskline_train.data.coco import CocoDataset
    from maskline_train.data.next_commands import making_a_recipe

    checked = list[CocoDataset]()
    for name in dict.fromkeys(split):
        dataset = CocoDataset(data, name, annotations)
        dataset.check_headers()
        dark = [] if headers else _decode(dataset.check_images, len(dataset), name)
        typer.echo(dataset.describe())
        for line in dataset.suspicions():
            typer.echo(f"warning: {dataset.annotation_file}: {line}", err=True)
        if dark:
            typer.echo(f"warning: {dataset.image_folder / dark[0]}: {said_of_dark(len(dark), len(dataset))}", err=True)
        for other in checked:
            if shared := in_both(other, dataset):
                typer.echo(f"warning: {shared[0]}: {said_of_both(shared, other, dataset)}", err=True)
        checked.append(dataset)
    for line in making_a_recipe(data, split, annotations):
        typer.echo(line)


def _decode(check: Callable[[Callable[[], None]], list[str]], total: int, split: str) -> list[str]:
    """Decode all images under a bar; returns the names of nearly black ones."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress(*columns) as bar:
        task = bar.add_task(f"decode {split}", total=total)
        return check(lambda: bar.advance(task))
