"""`maskline-train data tiles` as a command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from maskline_command.wording import counted
from maskline_tiles import default_overlap

from maskline_train.options import Kind


def tiles_command(
    data: Annotated[Path, typer.Argument(help="Folder with annotations/instances_SPLIT.json and SPLIT/.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    size: Annotated[int, typer.Option(min=32, help="Side of a tile, px; a smaller picture is one tile.")] = 512,
    overlap: Annotated[
        int | None, typer.Option(min=0, help="What neighbours share at least, px; by default a quarter of --size.")
    ] = None,
    split: Annotated[list[str], typer.Option(help="Split to cut; may be given several times.")] = ["train", "val"],  # noqa: B006
    annotations: Kind = "instances",
    least_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="With less than this share of an object in a tile it is a crowd region there."),
    ] = 0.1,
    empty: Annotated[
        float, typer.Option(min=0, help="Of train splits: tiles without objects for each tile with one, at most.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed keeps other tiles without objects.")] = 0,
) -> None:
    """Cut the pictures of a COCO-format set into tiles: a set again, in which small objects keep their pixels.

    Nothing is resized. An object that an edge cuts is in each tile with what is seen of it there.

    Example: maskline-train data tiles out/street out/street-tiles --size 512
    Then: maskline-train new out/street-tiles, and maskline-client detect photo.jpg --tiles 512 --out pictures
    """
    from maskline_train.data.coco import CocoDataset
    from maskline_train.data.convert.labelled import split_of
    from maskline_train.data.errors import DataError
    from maskline_train.data.next_commands import next_commands
    from maskline_train.data.tiles.cut import Cut, cut_split
    from maskline_train.files import refuse_existing, whole_folder

    refuse_existing(out, DataError)
    cut = Cut(size, default_overlap(size) if overlap is None else overlap, least_share, empty, seed)
    if cut.overlap_px > size // 2:
        raise ValueError(f"--overlap: got {overlap}, expected at most half of --size {size}; larger tiles hold more")
    datasets = [CocoDataset(data, name, annotations) for name in split]
    for dataset in datasets:
        dataset.check_headers()
    with whole_folder(out, DataError) as scratch:
        (scratch / "annotations").mkdir()
        found = [
            cut_split(dataset, scratch, cut, annotations, trains=split_of(dataset.split) == "train")
            for dataset in datasets
        ]
    for dataset, counts in zip(datasets, found, strict=True):
        typer.echo(f"{dataset.split}: {summary(counts)}")
    for line in next_commands(out, split, annotations):
        typer.echo(line)
    typer.echo(f"Once it is trained, look by tiles: maskline-client detect IMAGE --tiles {size} --out pictures")


def summary(counts: Counter[str]) -> str:
    """What was made of a split."""
    line = (
        f"{counted(counts['pictures'], 'picture')}, {counted(counts['tiles'], 'tile')}, {counts['empty']} of them "
        f"without objects; {counted(counts['objects'], 'object')}, {counts['parts']} of them cut by an edge"
    )
    rest = {
        "crowd regions, as hardly seen": counts["hardly seen"],
        "tiles without objects left out": counts["empty left out"],
        "annotations without a mask, left out": counts["without a mask"],
        "pictures no larger than a tile": counts["whole"],
    }
    return "; ".join([line, *(f"{text}: {count}" for text, count in rest.items() if count)])
