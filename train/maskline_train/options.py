"""Options that several commands of `maskline-train` share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(help="A name from `maskline-train recipes`, or a .py file.")]
Data = Annotated[Path, typer.Option(help="Folder with annotations/instances_SPLIT.json and SPLIT/.")]
TrainSplit = Annotated[str, typer.Option(help="What is learned from.")]
ValSplit = Annotated[str, typer.Option(help="What is evaluated on.")]
Kind = Annotated[
    str, typer.Option("--annotations", help="annotations/KIND_SPLIT.json; with keypoints: person_keypoints.")
]
TotalBatch = Annotated[
    int | None, typer.Option(min=1, help="Images a step over all processes; rate and schedule follow linearly.")
]
