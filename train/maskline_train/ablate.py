"""Trains the rows of one of the paper's tables side by side, with equal budgets, and sets them beside the paper.

OUT/TABLE/ROW/ is the run of a row (see fit.py) with its result.json; a row that has one is not trained again.
OUT/TABLE/table.md, table.json and sheet.png (one prediction of each row beside the truth) are written at the end.
"""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from rich.table import Table as RichTable

from maskline_train.ablation import Row, Table
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.pictures import contact_sheet, draw_objects
from maskline_train.predict import MIN_SCORE, TILE_PX, draw_results
from maskline_train.recipe import Recipe
from maskline_train.training_state import replace_file

RESULT_FILE = "result.json"
_SHEET_IMAGES = 3
_NOTE = "paper: its own data and schedule, for the direction only; † from the publication's tables, not in the text"


@dataclasses.dataclass(frozen=True)
class RowResult:
    """What one row reached.

    Attributes:
        name: of the row.
        steps: optimizer steps trained.
        seconds: of training and evaluation.
        metrics: `mask AP` etc. to a fraction 0..1; None where no ground truth counts.
        results: COCO results of the first images, for the sheet.
    """

    name: str
    steps: int
    seconds: float
    metrics: dict[str, float | None]
    results: list[dict[str, Any]]


def folder_of(row: Row) -> str:
    """The name of a row's folder: its name in small letters, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", row.name.lower()).strip("-")


def ablate(
    table: Table,
    base: Recipe,
    train_set: CocoDataset,
    val_set: CocoDataset,
    out: Path,
    processes: Processes,
    *,
    init: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[RowResult]:
    """Train every row that has no result yet, and write the table.

    Args:
        table: the rows.
        base: what each row changes; every row has its steps, batch and seed.
        train_set: what is learned from.
        val_set: what is evaluated on.
        out: the table's folder.
        processes: from `process_group()`.
        init: where every row starts from; what does not fit a row stays random there.
        say: gets one line a row.

    Returns:
        One result a row, in order.

    Raises:
        ValueError, NonFiniteLossError, Interrupted: as `fit`; finished rows keep their results.
    """
    found = []
    for number, row in enumerate(table.rows, start=1):
        folder = out / folder_of(row)
        head = f"row {number} of {len(table.rows)}, {row.name}"
        if (folder / RESULT_FILE).is_file():
            say(f"{head}: has its result in {folder}")
        else:
            say(f"{head}: training {base.training.steps} steps")
            _train(row, base, train_set, val_set, folder, processes, init)
        found.append(RowResult(**json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))))
    if processes.is_main:
        _write(table, found, val_set, out)
    return found


def _train(
    row: Row,
    base: Recipe,
    train_set: CocoDataset,
    val_set: CocoDataset,
    folder: Path,
    processes: Processes,
    init: Path | None,
) -> None:
    started = time.perf_counter()
    recipe = row.change(base)
    # A run that was stopped after its last step has checkpoints but no metrics: it is evaluated by training anew.
    metrics = fit(recipe, train_set, val_set, folder, processes, init=init, resume=True)
    if metrics is None:
        raise ValueError(f"{folder}: holds a finished run without {RESULT_FILE}; remove the folder to train it again")
    shown = val_set.image_ids[:_SHEET_IMAGES]
    result = RowResult(
        row.name,
        recipe.training.steps,
        time.perf_counter() - started,
        {f"{kind} {name}": value for kind, values in metrics.kinds().items() for name, value in values.items()},
        [entry for entry in metrics.results if entry["image_id"] in shown],
    )
    if processes.is_main:
        replace_file(folder / RESULT_FILE, (json.dumps(dataclasses.asdict(result)) + "\n").encode())


def as_rich(table: Table, found: list[RowResult]) -> RichTable:
    """The table for a terminal: ours and the paper's figures in percent, row by row."""
    rich = RichTable(title=f"{table.title}\n{table.finding}", title_justify="left", caption=_NOTE)
    rich.add_column("row")
    for name in table.columns():
        rich.add_column(name, justify="right")
        rich.add_column("paper", justify="right", style="dim")
    rich.add_column("minutes", justify="right")
    for cells in _cells(table, found):
        rich.add_row(*cells)
    return rich


def _cells(table: Table, found: list[RowResult]) -> list[list[str]]:
    lines = []
    for row, result in zip(table.rows, found, strict=True):
        cells = [f"{row.name} ({row.ledger})"]
        for name in table.columns():
            value, theirs = result.metrics.get(name), row.paper.get(name)
            cells += ["-" if value is None else f"{100 * value:.1f}", "-" if theirs is None else str(theirs)]
        lines.append([*cells, f"{result.seconds / 60:.1f}"])
    return lines


def _write(table: Table, found: list[RowResult], val_set: CocoDataset, out: Path) -> None:
    heads = ["row", *(head for name in table.columns() for head in (name, "paper")), "minutes"]
    lines = [f"# {table.title}", "", table.finding, f"The paper's setting: {table.setting}.", ""]
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cells) + " |" for cells in _cells(table, found)]
    lines += ["", f"{found[0].steps} steps each. {_NOTE}."]
    replace_file(out / "table.md", ("\n".join(lines) + "\n").encode())
    content = [{**dataclasses.asdict(result), "results": None} for result in found]
    replace_file(out / "table.json", (json.dumps(content, indent=1) + "\n").encode())
    _sheet(found, val_set).save(out / "sheet.png")


def _sheet(found: list[RowResult], val_set: CocoDataset) -> Image.Image:
    """One line of pictures an image: the truth, then each row's detections."""
    pictures = []
    for index in range(min(_SHEET_IMAGES, len(val_set))):
        image, truth = val_set.image(index), val_set.objects(index)
        pictures.append(draw_objects(image, truth.boxes, truth.labels.tolist(), val_set.classes, truth.masks))
        for result in found:
            mine = [entry for entry in result.results if entry["image_id"] == val_set.image_ids[index]]
            pictures.append(draw_results(image, mine, val_set.classes, val_set.category_ids, MIN_SCORE))
    height = min(TILE_PX, max(picture.height for picture in pictures))
    width = min(TILE_PX, max(picture.width for picture in pictures))
    return contact_sheet(pictures, columns=1 + len(found), tile=(height, width))
