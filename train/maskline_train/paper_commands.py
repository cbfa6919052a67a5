"""The commands of `maskline-train` for the paper's further experiments; `cli.py` gives them their names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from maskline_train.cityscapes_metric import CityscapesMetrics


def cityscapes_command(
    root: Annotated[Path, typer.Argument(help="Cityscapes, unpacked: leftImg8bit/ and gtFine/.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    split: Annotated[list[str], typer.Option(help="Split to convert; may be given several times.")] = ["train", "val"],  # noqa: B006
) -> None:
    """Make a COCO-format set of Cityscapes' fine annotations; the pictures are linked, not copied.

    Example: maskline-train data cityscapes cityscapes out/cityscapes
    """
    from maskline_train.data.cityscapes import CLASSES, convert

    counts = convert(root, out, split)
    table = Table("class", title="Objects", title_justify="left")
    for name in split:
        table.add_column(name, justify="right")
    for label in CLASSES:
        table.add_row(label, *[str(counts[name][label]) for name in split])
    Console().print(table)


def show_cityscapes(metrics: CityscapesMetrics) -> None:
    """Print the metrics of the Cityscapes protocol."""
    from maskline_train.evaluate import percent

    table = Table("masks, in %", title="Cityscapes protocol", title_justify="left")
    for name in ("AP", "AP50"):
        table.add_column(name, justify="right")
    for label, values in metrics.per_class.items():
        table.add_row(label, percent(values["AP"]), percent(values["AP50"]))
    table.add_section()
    table.add_row("mean", percent(metrics.ap), percent(metrics.ap50))
    Console().print(table)
