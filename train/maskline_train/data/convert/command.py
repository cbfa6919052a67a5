"""`maskline-train data convert`: data that were labelled elsewhere become a COCO-format data set."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from maskline_command.wording import counted

if TYPE_CHECKING:
    from maskline_train.data.convert.labelled import Labelled, Notes


class Kind(StrEnum):
    """The formats."""

    COCO = "coco"
    CVAT = "cvat"
    LABELME = "labelme"
    MASKS = "masks"
    VOC = "voc"
    YOLO = "yolo"


def convert_command(
    kind: Annotated[Kind, typer.Argument(help="The format of SOURCE.")],
    source: Annotated[Path, typer.Argument(help="Folder of the labelled pictures.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    name: Annotated[str, typer.Option("--class", help="Of masks, which have no names: the class of all objects.")] = "",
    classes: Annotated[
        Path | None, typer.Option(help="Of masks, in the place of --class: a JSON file, value of a map to class.")
    ] = None,
    val_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the pictures for val where SOURCE has no splits.")
    ] = 0.1,
    no_crowds: Annotated[
        bool,
        typer.Option(
            "--no-crowds", help="Of coco: objects with iscrowd 1, as some tools write all masks, are objects."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Another seed chooses other pictures for val.")] = 0,
) -> None:
    """Make a COCO-format data set of pictures that were labelled elsewhere; pictures are copied.

    Says what was left out or assumed, and why. A mistake in a file ends it, and nothing is written.

    Example: maskline-train data convert masks nuclei out/nuclei --class nucleus
    """
    from maskline_train.data.convert.write import write
    from maskline_train.data.errors import DataError
    from maskline_train.data.next_commands import next_commands
    from maskline_train.files import refuse_existing

    refuse_existing(out, DataError)
    notes: Notes = Counter()
    labelled = _read(kind, source, name, classes, no_crowds, notes)
    counts = write(labelled, out, val_share, seed)
    for line in summary(labelled.classes, counts, notes):
        typer.echo(line)
    for line in next_commands(out, list(counts)):
        typer.echo(line)


def summary(classes: tuple[str, ...], counts: dict[str, Counter[str]], notes: Notes) -> list[str]:
    """Pictures and objects of each split, then a line for each kind of thing that was left out or assumed."""
    lines = []
    for split, found in counts.items():
        objects = ", ".join(f"{found[name]} {name}" for name in classes)
        lines.append(f"{split}: {counted(found[''], 'picture')}, objects: {objects}")
    return lines + [f"{text}: {count}" for text, count in sorted(notes.items()) if count]


def _read(kind: Kind, source: Path, name: str, classes: Path | None, no_crowds: bool, notes: Notes) -> Labelled:
    from maskline_train.data.convert.coco import read_coco
    from maskline_train.data.convert.cvat import read_cvat
    from maskline_train.data.convert.id_masks import read_masks
    from maskline_train.data.convert.labelme import read_labelme
    from maskline_train.data.convert.value_classes import read_value_classes
    from maskline_train.data.convert.voc import read_voc
    from maskline_train.data.convert.yolo import read_yolo

    if kind is Kind.MASKS and bool(name) == bool(classes):
        got = "it beside --classes" if name else "none"
        raise ValueError(
            f"--class: got {got}, expected the name of the objects' class, which {kind} do not have, or --classes"
        )
    if kind is not Kind.MASKS and (name or classes):
        option = f"--class: got {name}" if name else f"--classes: got {classes}"
        raise ValueError(f"{option}, expected none; {kind} names the class of each object itself")
    if kind is not Kind.COCO and no_crowds:
        raise ValueError(f"--no-crowds: got it for {kind}, expected it for coco, the one format that knows crowds")
    if kind is Kind.MASKS:
        return read_masks(source, read_value_classes(classes) if classes else name, notes)
    if kind is Kind.COCO:
        return read_coco(source, no_crowds, notes)
    readers = {Kind.CVAT: read_cvat, Kind.LABELME: read_labelme, Kind.VOC: read_voc, Kind.YOLO: read_yolo}
    return readers[kind](source, notes)
