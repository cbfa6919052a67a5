"""The parity table on the terminal: of ONNX stages against PyTorch, and of engines against ONNX stages."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from maskline_export.verify.compare import StageRow

_WORDS = ("stage", "unit")  # columns that read from the left


def parity_table(title: str, rows: Iterable[StageRow]) -> Table:
    """One line a row: errors and their limit, matched share and the least that passes, verdict."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)  # fits 80 columns
    for name in ("stage", "max error", "p99 error", "limit", "unit", "matched", "at least"):
        table.add_column(name, justify="left" if name in _WORDS else "right")
    table.add_column("", no_wrap=True)
    for row in rows:
        errors = [f"{value:.2g}" for value in (row.max_error, row.p99_error, row.limit)]
        shares = [f"{100 * row.matched:.1f} %", f"{100 * row.min_matched:.0f} %"] if row.min_matched else ["", ""]
        table.add_row(row.stage, *errors, row.unit, *shares, Text("ok", "green") if row.ok else Text("deviates", "red"))
    return table
