"""The commands of `maskline-train` for the paper's tables and further experiments; `cli.py` names them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from maskline_command.console import results
from rich.console import Console
from rich.table import Table

from maskline_train.options import Data, Kind, RecipeName, TotalBatch, TrainSplit, ValSplit

if TYPE_CHECKING:
    from maskline_train.evaluation.cityscapes_metric import CityscapesMetrics
    from maskline_train.evaluation.evaluate import Metrics


def show_metrics(title: str, metrics: Metrics) -> None:
    """Print the metrics of an evaluation, of all classes together and of each."""
    from maskline_train.evaluation.evaluate import percent

    table = Table(title=f"{title} ({metrics.num_images} images)", title_justify="left")
    table.add_column("AP in %")
    for name in metrics.box:
        table.add_column(name, justify="right")
    for kind, values in metrics.kinds().items():
        table.add_row(kind, *[percent(values.get(name)) for name in metrics.box])
    results().print(table)
    classes = Table("class", title="AP of each class", title_justify="left")
    for kind in metrics.kinds():
        classes.add_column(kind, justify="right")
    for name, values in metrics.per_class.items():
        classes.add_row(name, *[percent(values[kind]) for kind in metrics.kinds()])
    results().print(classes)


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
    results().print(table)


def four_step_command(
    recipe: RecipeName,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder of the four runs.")],
    train_split: TrainSplit = "train",
    val_split: ValSplit = "val",
    annotations: Kind = "instances",
    init: Annotated[Path | None, typer.Option(help="What both trunks start from, usually ResNet weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in the stage that was interrupted.")] = False,
    unshared: Annotated[
        bool, typer.Option("--unshared", help="Only the first two stages: two networks that share nothing.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each stage instead of the recipe's.")] = None,
    total_batch: TotalBatch = None,
) -> None:
    """Train in stages: RPN, heads, then both again on one frozen trunk. `fit` trains end to end.

    With --unshared, the paper's default, evaluate both networks together:
    maskline-train evaluate OUT/2-heads/best --rpn OUT/1-rpn/last --data DATA

    Example: maskline-train four-step digits_base --data out/digits --out out/four-step --steps 200
    """
    from maskline_train.data.coco import CocoDataset
    from maskline_train.distributed import process_group
    from maskline_train.paper.four_step import four_step
    from maskline_train.recipes import load_recipe
    from maskline_train.training.interruption import Interrupted

    train_set, val_set = (CocoDataset(data, split, annotations) for split in (train_split, val_split))
    chosen = load_recipe(recipe)(train_set.classes).adjusted(steps, total_batch)
    with process_group() as processes:
        try:
            four_step(chosen, train_set, val_set, out, processes, init=init, resume=resume, shared=not unshared)
        except Interrupted as stop:
            if processes.is_main:
                typer.echo(f"{stop}; resume: the same command with --resume", err=True)
            raise typer.Exit(stop.exit_code) from None


def distil_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint folder, e.g. out/run/best.")],
    data: Annotated[Path, typer.Option(help="The labelled set: annotations/instances_SPLIT.json and SPLIT/.")],
    images: Annotated[Path, typer.Option(help="Folder of unlabelled images.")],
    out: Annotated[Path, typer.Option(help="Folder to make: labelled and generated annotations in one set.")],
    train_split: Annotated[str, typer.Option(help="What the checkpoint was trained on.")] = "train",
    val_split: Annotated[str, typer.Option(help="Taken over as it is.")] = "val",
    annotations: Kind = "instances",
) -> None:
    """Annotate unlabelled images with a model, by test-time augmentation, to train it again on both.

    Kept are so many of the best predictions that images have as many objects as labelled ones.

    Example: maskline-train distil out/run/best --data out/digits --images photos --out out/distilled
    Then: maskline-train fit RECIPE --data out/distilled --init out/run/best --out out/again
    """
    from maskline_train.checkpoint import load_model
    from maskline_train.data.coco import CocoDataset
    from maskline_train.distributed import process_group
    from maskline_train.paper.distil import distil

    labelled, val_set = (CocoDataset(data, split, annotations) for split in (train_split, val_split))
    with process_group() as processes:
        model = load_model(checkpoint).to(processes.device)
        report = distil(model, labelled, val_set, images, out, processes)
        if processes.is_main:
            typer.echo(report.describe())


def show_cityscapes(metrics: CityscapesMetrics) -> None:
    """Print the metrics of the Cityscapes protocol."""
    from maskline_train.evaluation.evaluate import percent

    table = Table("masks, in %", title="Cityscapes protocol", title_justify="left")
    for name in ("AP", "AP50"):
        table.add_column(name, justify="right")
    for label, values in metrics.per_class.items():
        table.add_row(label, percent(values["AP"]), percent(values["AP50"]))
    table.add_section()
    table.add_row("mean", percent(metrics.ap), percent(metrics.ap50))
    results().print(table)


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
    steps: Annotated[int | None, typer.Option(min=1, help="Train so many steps instead of the recipe's.")] = None,
    total_batch: TotalBatch = None,
    train_split: TrainSplit = "train",
    val_split: ValSplit = "val",
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
    from maskline_train.paper.tables import load_table
    from maskline_train.recipes import load_recipe
    from maskline_train.training.interruption import Interrupted

    chosen = load_table(table)
    build, kind = load_recipe(recipe or chosen.small), annotations or chosen.annotations
    train_set, val_set = (CocoDataset(data, split, kind) for split in (train_split, val_split))
    base = build(train_set.classes).adjusted(steps, total_batch)
    with process_group() as processes:
        say = _say if processes.is_main else (lambda _: None)
        try:
            found = ablate(chosen, base, train_set, val_set, out / table, processes, init=init, only=row, say=say)
        except Interrupted as stop:
            say(f"{stop}; repeat the command to go on")
            raise typer.Exit(stop.exit_code) from None
    if processes.is_main:
        results().print(as_rich(chosen, found))
        _say(f"{out / table}: table.md, table.json, sheet.png")


def tables_command() -> None:
    """List the paper's tables that `ablate` runs, with the recipes of the small and of the paper's own setting.

    Example: maskline-train tables
    """
    from maskline_train.paper.tables import load_table, table_names

    for name in table_names():
        table = load_table(name)
        typer.echo(f"{name:20} {table.title}\n{'':20} {len(table.rows)} rows; --recipe {table.small} or {table.full}")


def _say(text: str) -> None:
    Console(stderr=True, markup=False, emoji=False, soft_wrap=True, highlight=False).print(text)
