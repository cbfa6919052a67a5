"""docs/ran_where.md: what was run where, and what is owed; `python -m maskline_bench.owed --page` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskline_bench.owed.by_hand import ON_GPU, WITHOUT_GPU, Row
from maskline_bench.owed.item import Item, State, state_of
from maskline_bench.owed.items import ITEMS
from maskline_bench.owed.machine import NEEDS

HEAD = """# What was run where

*`make ran-where` writes this page, of the results in [docs/benchmarks](benchmarks) and of the lists in
`bench/maskline_bench/owed`.*

This project is built for GPUs, and there was one at hand for hours only. What runs on a CPU is tested there; what needs
a GPU has a script each, and this page says which of them a GPU has run. `make owed` prints the same list, and on a
machine with a GPU runs what is owed: items of at most 8 minutes each, after some minutes of making weights. An item
alone: `make owed ONLY=engines`.
"""


def page(results: Path) -> str:
    """The page, of the results in a folder."""
    rows = [_item_row(item, state_of(item, results)) for item in ITEMS]
    return "\n".join((
        HEAD,
        "## Claimed or aimed at for a GPU, most wanted first\n",
        "`shown`: every figure lies where it has to. `missed`: run, and one does not. `owed`: no GPU has run it.\n",
        _table(("", "claim", "state", "figures"), rows),
        "\n## What such a machine must have\n",
        "Linux, Python 3.11 or 3.12, make, g++; `make env` and `make plugins` first. Then, as the item needs it:\n",
        _table(
            ("", "what", "how to bring it", "for"),
            [
                (name, need.what, need.bring, ", ".join(f"`{item.name}`" for item in ITEMS if name in item.needs))
                for name, need in NEEDS.items()
            ],
        ),
        "\n## Run on a GPU by hand, or by `make test-gpu`\n",
        _rows(ON_GPU),
        "\n## Run without a GPU\n",
        _rows(WITHOUT_GPU),
        "\nWhat the emulator cannot show: speed, races between blocks, the memory model.\n",
    ))  # fmt: skip


def state_text(state: State) -> str:
    """`shown on 2026-11-27 on NVIDIA H100`, or `owed`."""
    return state.outcome if state.outcome == "owed" else f"{state.outcome} on {state.when} on {state.card}"


def figures_text(item: Item, state: State) -> str:
    """Each limit, and what was found."""
    if not state.figures:
        return "; ".join(f"{limit.what}: {limit.aim}" for limit in item.limits)
    pairs = zip(item.limits, state.figures, strict=True)
    return "; ".join(
        f"{limit.what}: {figure:.4g} ({'' if limit.holds(figure) else 'not '}{limit.aim})" for limit, figure in pairs
    )


def _item_row(item: Item, state: State) -> tuple[str, ...]:
    link = f"[{state_text(state)}](benchmarks/{state.file})" if state.file else f"**{state.outcome}**"
    return f"`{item.name}`", item.claim, link, figures_text(item, state)


def _rows(rows: Sequence[Row]) -> str:
    return _table(("what", "where", "state"), [(row.what, row.where, row.state) for row in rows])


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)
