"""The commands of `maskline-train` for the paper's tables; `cli.py` gives them their names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def ablate_command(
    table: Annotated[str, typer.Argument(help="A table: `maskline-train tables` lists them.")],
    data: Annotated[Path, typer.Option(help="Folder with annotations/KIND_SPLIT.json and SPLIT/.")],
    out: Annotated[Path, typer.Option(help="Folder of all tables; each gets a folder of its own.")],
    recipe: Annotated[
        str | None, typer.Option(help="What every row changes: a recipe's name, or a .py file; default: the small one.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Start every row from the trunk of this checkpoint, or from these weights.")
    ] = None,
    row: Annotated[list[str], typer.Option(help="Only this row; may be given several times.")] = [],  # noqa: B006
    steps: Annotated[int | None, typer.Option(help="Train so many steps instead of the recipe's.")] = None,
    total_batch: Annotated[
        int | None, typer.Option(help="Images a step over all processes; rate and schedule follow linearly.")
    ] = None,
    train_split: Annotated[str, typer.Option(help="What is learned from.")] = "train",
    val_split: Annotated[str, typer.Option(help="What is evaluated on.")] = "val",
    annotations: Annotated[
        str | None, typer.Option(help="annotations/KIND_SPLIT.json; default: what the table needs.")
    ] = None,
) -> None:
    """Train the rows of one of the paper's tables with equal budgets and print them beside the paper's figures.

    Rows that have a result are not trained again, so the command can be stopped (Ctrl-C) and repeated.

    Example: maskline-train ablate table_2c --data out/digits --out out/ablations --init demo/base
    """
    from maskline_train.data.coco import CocoDataset
    from maskline_train.distributed import process_group
    from maskline_train.paper.report import as_rich
    from maskline_train.paper.run_table import ablate
    from maskline_train.paper.table import load_table
    from maskline_train.recipe import load_recipe
    from maskline_train.training.interruption import Interrupted

    chosen = load_table(table)
    build, kind = load_recipe(recipe or chosen.small), annotations or chosen.annotations
    train_set, val_set = (CocoDataset(data, split, kind) for split in (train_split, val_split))
    base = build(train_set.classes)
    training = base.training if total_batch is None else base.training.with_total_batch(total_batch)
    if steps is not None:
        training = dataclasses.replace(training, steps=steps)
    base = dataclasses.replace(base, training=training)
    with process_group() as processes:
        say = _say if processes.is_main else (lambda _: None)
        try:
            found = ablate(chosen, base, train_set, val_set, out / table, processes, init=init, only=row, say=say)
        except Interrupted as stop:
            say(f"{stop}; repeat the command to go on")
            raise typer.Exit(stop.exit_code) from None
    if processes.is_main:
        Console().print(as_rich(chosen, found))
        _say(f"{out / table}: table.md, table.json, sheet.png")


def tables_command() -> None:
    """List the paper's tables that `ablate` runs, with the recipes of the small and of the paper's own setting.

    Example: maskline-train tables
    """
    from maskline_train.paper.table import load_table, table_names

    for name in table_names():
        table = load_table(name)
        typer.echo(f"{name:20} {table.title}\n{'':20} {len(table.rows)} rows; --recipe {table.small} or {table.full}")


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(text, markup=False)
