"""The parity tables on the terminal: of a line, row by row, and of all lines, a row each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from maskline_export.verify.compare import StageRow
from maskline_export.verify.rows import ParityReport

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


def lines_table(reports: Sequence[ParityReport]) -> Table:
    """One line a line: how many stages were seen, what of the detections is matched, near-ties, what deviates first."""
    table = Table(title="All lines", title_justify="left", box=None, pad_edge=False)
    for name in ("line", "rows", "detections matched", "near-ties", "first deviation"):
        table.add_column(name, justify="left" if name in ("line", "first deviation") else "right")
    for report in reports:
        matched = next(row.matched for row in report.rows if row.stage == "detections")
        verdict = Text("none", "green") if report.first_deviation is None else Text(report.first_deviation, "red")
        numbers = (str(len(report.rows)), f"{100 * matched:.1f} %", str(report.near_ties))
        table.add_row(report.title, *numbers, verdict)
    return table
