"""Trains the rows of one of the paper's tables side by side, with equal budgets, and sets them beside the paper.

OUT/TABLE/ROW/ is the run of a row (see fit.py; of a row in stages four_step.py) with its result.json; a row with one is
not trained again, and one that was stopped goes on. OUT/TABLE/table.md, table.json and sheet.png come at the end.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes, barrier
from maskline_train.files import replace_file
from maskline_train.paper.report import write_report
from maskline_train.paper.row import MARKER_FILE, RESULT_FILE, Bench, RowResult, run_row
from maskline_train.paper.table import Row, Table
from maskline_train.recipe import Recipe


def folder_of(name: str) -> str:
    """The name of a row's folder: its name in small letters, words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def ablate(
    table: Table,
    base: Recipe,
    train_set: CocoDataset,
    val_set: CocoDataset,
    out: Path,
    processes: Processes,
    *,
    init: Path | None = None,
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> list[RowResult | None]:
    """Train every row that has no result yet, and write the table.

    Args:
        table: the rows.
        base: what each row changes; every row has its steps, batch and seed.
        train_set: what is learned from.
        val_set: what is evaluated on.
        out: the table's folder; a row that another table beside it has trained already, from the same start on the same
            data, is taken over.
        processes: from `process_group()`.
        init: where every row starts from, as `fit` takes it; of a checkpoint folder a row takes what `Row.start` says.
        only: names of the rows to run; none: all but those that need what this start is not.
        say: gets a line or two a row.

    Returns:
        One result a row, in order; None for a row without.

    Raises:
        ValueError, NonFiniteLossError, Interrupted: as `fit`; finished rows keep their results.
    """
    chosen = _chosen(table, only)
    bench = Bench(train_set, val_set, out, processes, init)
    found: list[RowResult | None] = []
    for number, row in enumerate(table.rows, start=1):
        folder, head = out / folder_of(row.name), f"row {number} of {len(table.rows)}, {row.name}"
        if row not in chosen and (folder / RESULT_FILE).is_file():  # of another start, maybe, by an earlier --row
            found.append(_read(folder / RESULT_FILE))
            continue
        if row not in chosen:
            found.append(None)
            say(f"{head}: left out" + (f", it needs {row.needs}: --row {folder.name} runs it" if row.needs else ""))
            continue
        recipe = row.change(base)
        before = next((result for result in reversed(found) if result is not None), None)
        made_by = bench.fingerprint(row, recipe, before)
        result = _known(folder, made_by, row, bench)
        barrier()  # nobody writes before everybody has looked
        if processes.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / MARKER_FILE, made_by.encode())
        if result is None:
            say(f"{head}: training {recipe.training.steps} steps" if not row.augmented else f"{head}: evaluating")
            result = run_row(row, recipe, folder, bench, made_by, before)
            say(f"{head}: {result.summary(table.kinds)}")
        else:
            say(f"{head}: has its result, from {out.parent / result.run}")
        if processes.is_main:
            replace_file(folder / RESULT_FILE, (json.dumps(dataclasses.asdict(result)) + "\n").encode())
        barrier()
        found.append(result)
    if processes.is_main:
        write_report(table, found, val_set, out)
    return found


def _chosen(table: Table, only: Sequence[str]) -> list[Row]:
    """The rows to run.

    Raises:
        ValueError: no row of this name.
    """
    if not only:
        return [row for row in table.rows if not row.needs]
    names = {folder_of(row.name): row for row in table.rows}
    for name in only:
        if folder_of(name) not in names:
            raise ValueError(f"row: got {name!r}, expected one of {', '.join(names)}")
    return [row for name, row in names.items() if name in map(folder_of, only)]


def _known(folder: Path, made_by: str, row: Row, bench: Bench) -> RowResult | None:
    """The row's result where it, or the same row of another table beside this one, is there already.

    Raises:
        ValueError: the folder has a run of other settings: a table of both would compare unequal things.
    """
    marker = folder / MARKER_FILE
    if marker.is_file() and marker.read_text(encoding="utf-8") != made_by:
        raise ValueError(
            f"{folder}: holds a run of another recipe, number of steps, start or data set; expected this command's, "
            f"for rows to be comparable; remove the folder, or choose another --out"
        )
    if (folder / RESULT_FILE).is_file():
        return _read(folder / RESULT_FILE)
    for path in sorted(bench.out.parent.glob(f"*/*/{RESULT_FILE}")):
        result = _read(path)
        if result.made_by == made_by:
            return dataclasses.replace(result, name=row.name)
    return None


def _read(path: Path) -> RowResult:
    return RowResult(**json.loads(path.read_text(encoding="utf-8")))
