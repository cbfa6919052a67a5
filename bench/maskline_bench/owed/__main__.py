"""What is owed to a GPU: print it, and where there is a GPU run it.

Run: make owed, or python -m maskline_bench.owed --only engines
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from maskline_train.files import replace_file
from rich.console import Console
from rich.table import Table

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.made_model import made_model
from maskline_bench.owed.item import Item, state_of
from maskline_bench.owed.items import ITEMS
from maskline_bench.owed.machine import NEEDS, card, missing
from maskline_bench.owed.page import figures_text, page, state_text
from maskline_bench.owed.running import run_item
from maskline_bench.owed.task import MADE

ROOT = Path(__file__).parents[3]
RESULTS, PAGE, LOGS = ROOT / "docs" / "benchmarks", ROOT / "docs" / "ran_where.md", ROOT / "out" / "owed"


def show(console: Console, results: Path) -> None:
    """A row for each item, and how to bring what this machine lacks."""
    table = Table(title="Owed to a GPU, most wanted first", title_justify="left", show_lines=True)
    for heading in ("item", "claim", "state", "figures", "this machine lacks"):
        table.add_column(heading)
    lacking: dict[str, None] = {}
    for item in ITEMS:
        state, lacks = state_of(item, results), missing(item.needs)
        lacking |= dict.fromkeys(lacks)
        table.add_row(
            item.name, item.claim, state_text(state), figures_text(item, state), ", ".join(lacks) or "nothing"
        )
    console.print(table)
    for name in lacking:
        console.print(f"{name}: {NEEDS[name].what}: {NEEDS[name].bring}", highlight=False, soft_wrap=True)


def wanted(only: list[str], results: Path, *, again: bool) -> list[Item]:
    """The items to run: those that are named, or all that no GPU has run.

    Raises:
        BenchmarkError: there is no item of a name.
    """
    unknown = set(only) - {item.name for item in ITEMS}
    if unknown:
        names = ", ".join(item.name for item in ITEMS)
        raise BenchmarkError(f"--only: got {', '.join(sorted(unknown))}, expected one of {names}")
    if only:
        return [item for item in ITEMS if item.name in only]
    return [item for item in ITEMS if again or state_of(item, results).outcome == "owed"]


def run_all(items: list[Item], results: Path, console: Console) -> int:
    """Run them one after the other; returns how many failed or missed."""
    with console.status("making weights, which several items use") as status:
        model = made_model(MADE, "full", status.update)
        model.artifact(), model.half()
    bad = 0
    for item in items:
        lacks = missing(item.needs)
        if lacks:
            console.print(f"{item.name}: not run, this machine lacks {', '.join(lacks)}")
            continue
        try:
            with console.status(f"{item.name}: {item.claim}"):
                run_item(item, results, LOGS)
        except BenchmarkError as error:
            bad += 1
            console.print(str(error), style="red", soft_wrap=True)
            continue
        state = state_of(item, results)
        bad += state.outcome != "shown"
        console.print(f"{item.name}: {state_text(state)}: {figures_text(item, state)}", soft_wrap=True)
    return bad


def main(
    only: Annotated[list[str] | None, typer.Option(help="Run this item alone; may be given several times.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run what a GPU has run before, too.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Print, run nothing.")] = False,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    write_page: Annotated[bool, typer.Option("--page", help="Write docs/ran_where.md, run nothing.")] = False,
) -> None:
    """Print what is owed to a GPU with its state; on a machine with a GPU run what is owed and write its JSON files.

    Example: python -m maskline_bench.owed --only through_triton --only engines
    """
    console = Console(width=None if sys.stdout.isatty() else 160, markup=False)  # commands have brackets
    with in_one_line("owed"):
        if write_page:
            replace_file(PAGE, page(results).encode())
            return
        items = wanted(only or [], results, again=again)
        show(console, results)
        gpu = card()
        if list_only or not items:
            return
        if gpu is None and not only:
            console.print("No GPU here: nothing was run.")
            return
        if gpu is None:
            raise BenchmarkError("got no GPU, expected one; nothing was run")
        if run_all(items, results, console):
            raise BenchmarkError(f"not everything was shown; the outputs are in {LOGS}")


if __name__ == "__main__":
    typer.run(main)
