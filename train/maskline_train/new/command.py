"""`maskline-train new`: from a data set to a recipe and the command that trains by it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskline_train.options import Kind, TrainSplit, ValSplit


def new_command(
    data: Annotated[Path, typer.Argument(help="Folder with annotations/instances_SPLIT.json and SPLIT/.")],
    out: Annotated[
        Path | None, typer.Option(help="The recipe's file, a .py; by default the folder's name, here.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder in the command that is printed; by default runs/NAME.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="What training may take.")] = 5.0,
    init: Annotated[
        Path | None,
        typer.Option(help="A checkpoint folder to start from; by default the base checkpoint of this package."),
    ] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="For the processor, where there is a GPU too.")] = False,
    train_split: TrainSplit = "train",
    val_split: ValSplit = "val",
    annotations: Kind = "instances",
) -> None:
    """Write a recipe for your data and this machine, with the reason of each choice, and print the next command.

    Sizes, anchors and numbers follow from the objects, the number of steps from the seconds that a few real ones take.

    Example: maskline-train new out/nuclei --minutes 10
    From a model that you have: maskline-train new out/street --init runs/imported
    """
    import torch
    from maskline_command.console import waiting
    from maskline_command.output_files import refuse_unwritable

    from maskline_train.data.coco import CocoDataset
    from maskline_train.data.errors import DataError
    from maskline_train.files import replace_file
    from maskline_train.new.advice import advice, cut_first
    from maskline_train.new.choose import choose
    from maskline_train.new.machine import this_machine
    from maskline_train.new.recipe_file import Places, recipe_text, seen
    from maskline_train.new.start import start_for
    from maskline_train.new.survey import survey

    name = data.resolve().name
    out = out or Path(f"{name}.py")
    if out.suffix != ".py":
        raise ValueError(f"--out: got {out}, expected a file name that ends in .py, as `fit` takes recipes")
    if out.exists():
        raise ValueError(f"{out}: exists already, expected a new file; remove it, or choose another --out")
    refuse_unwritable(out)
    train_set, val_set = (CocoDataset(data, split, annotations) for split in (train_split, val_split))
    if train_set.classes != val_set.classes:
        raise DataError(
            f"{val_set.annotation_file}: got classes {', '.join(val_set.classes)}, expected those of {train_split}, "
            f"{', '.join(train_set.classes)}; both splits need the same categories"
        )
    found, machine = survey(train_set), this_machine(use_gpu=not cpu)
    start = start_for(found, machine, init)
    with waiting(f"timing a few steps on {machine.describe()}"):
        chosen = choose(start, found, train_set, machine, minutes, len(val_set))
    notes = list(advice(chosen, found, train_set, val_set))
    without_gpu = cpu and torch.cuda.is_available()
    run = run or Path("runs") / name
    places = Places(data, train_split, val_split, annotations, out, start.init, run, without_gpu)
    text = recipe_text(chosen, found, machine, places)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, text.encode())
    typer.echo(seen(found))
    typer.echo(f"{out}: {chosen.reasons['training.steps']}")
    for line in notes:
        typer.echo(f"note: {line}")
    if chosen.tile_px is None:
        typer.echo(f"Next: {places.fit()}")
    else:
        typer.echo(f"As they are: {places.fit()}")
        typer.echo(f"Next: {cut_first(chosen.tile_px, data, train_split, val_split, annotations)}")
