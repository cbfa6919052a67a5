"""The table of spreads and margins: docs/machines.md, and the rows behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from machines.rule import SPREADS, Quantity

TOLERANCE = "share of the tolerance"
SHOWN = 0.3  # of a tolerance; a comparison that stays below is counted, not shown
QUIET = 0.1  # of a tolerance; a comparison that stays below is left out of the raw rows
# Comparisons that may use all of their tolerance, which follows from the arithmetic: test, and from what.
DERIVED = {
    "test_every_size_fits_a_canvas_and_keeps_its_shape": "a size is rounded to whole pixels, by half a pixel at most",
    "test_float16_halves_the_file_and_rounds_matrices_only": "a number is rounded to float16, by half a unit at most",
}
_HEAD = """# What differs from machine to machine

Written by `make test-machines` ({processor}; Python {python}, torch {torch}, NumPy {numpy}). A short training ends
elsewhere on another processor, with another number of threads and from another seed, and so do the roundings of every
sum. Each of the runs named below is a pytest process under one setting: `ATEN_CPU_CAPABILITY`, `ONEDNN_MAX_CPU_ISA` and
the number of threads.

The rule: from the mean of what is measured, a limit is at least three standard deviations away; what the untrained or
the wrong model shows is at least three limits, and a gain that is claimed is more than three deviations above none.
"""


def write_report(
    docs: Path, machine: Mapping[str, str], results: Sequence[Mapping[str, Any]], found: Sequence[Quantity]
) -> list[str]:
    """Write both files; returns the complaints, failed runs among them."""
    complaints = [f"{result['key']}: failed {test}" for result in results for test in result["failed"]]
    complaints += [f"{q.test}: {q.what}: {text}" for q in found if not _is_derived(q) for text in q.complaints()]
    learned = [q for q in found if not q.what.endswith(TOLERANCE)]
    compared = [q for q in found if q.what.endswith(TOLERANCE)]
    parts = [_HEAD.format(**machine), _runs(results), _learned(learned), _compared(compared), _verdict(complaints)]
    (docs / "machines.md").write_text("\n".join(parts))
    quiet = {(q.test, q.what) for q in compared if q.worst <= QUIET}
    runs = [{**r, "rows": [row for row in r["rows"] if (row["test"], row["what"]) not in quiet]} for r in results]
    raw = {"machine": dict(machine), "runs": runs}
    (docs / "benchmarks" / "machines.json").write_text(json.dumps(raw, separators=(",", ":")) + "\n")
    return complaints


def _is_derived(quantity: Quantity) -> bool:
    name = quantity.test.rsplit("::", 1)[-1].split("[")[0]
    return quantity.what.endswith(TOLERANCE) and name in DERIVED and quantity.worst <= 1.0


def _runs(results: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## The runs\n", "| group, setting and seed | seconds | failed |", "|---|---|---|"]
    lines += [f"| {r['key']} | {r['seconds']} | {len(r['failed']) or 'none'} |" for r in results]
    return "\n".join(lines) + "\n"


def _learned(found: Sequence[Quantity]) -> str:
    lines = [
        "## What trainings show\n",
        "| test | quantity | runs | mean | spread | worst | limit | margin, in spreads | wrong model |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for q in found:
        spreads = f"{q.margin / q.spread:.1f}" if q.spread else "no spread"
        sign, wrong = ("<" if q.side == "below" else ">"), ("" if q.wrong is None else f"{q.wrong:g}")
        name = q.test.rsplit("/", 1)[-1].replace(".py::", " ")
        numbers = f"{len(q.values)} | {q.mean:.3g} | {q.spread:.2g} | {q.worst:.3g} | {sign} {q.limit:g}"
        lines.append(f"| {name} | {q.what} | {numbers} | {spreads} | {wrong} |")
    return "\n".join(lines) + "\n"


def _compared(found: Sequence[Quantity]) -> str:
    """Comparisons that use much of their tolerance, or move; the others by their number."""
    shown = [q for q in found if max(q.worst, q.mean + SPREADS * q.spread) > SHOWN]
    few = len(found) - len(shown)
    lines = [
        "## Comparisons of numbers\n",
        f"{len(found)} comparisons with a tolerance; {few} of them use less than {SHOWN} of it, three",
        "standard deviations included. The others, as shares of the tolerance:\n",
        "| test | line | runs | mean | spread | worst |",
        "|---|---|---|---|---|---|",
    ]
    for q in shown:
        name = q.test.rsplit("/", 1)[-1].replace(".py::", " ")
        what = q.what.removesuffix(f": {TOLERANCE}")
        lines.append(f"| {name} | {what} | {len(q.values)} | {q.mean:.3g} | {q.spread:.2g} | {q.worst:.3g} |")
    reasons = [f"{name} ({reason})" for name, reason in DERIVED.items()]
    lines.append(f"\nUp to the whole of it may use what follows from the arithmetic: {'; '.join(reasons)}.")
    return "\n".join(lines) + "\n"


def _verdict(complaints: Sequence[str]) -> str:
    if not complaints:
        return "## Verdict\n\nEvery run passed and every limit keeps the rule.\n"
    return "## Verdict\n\n" + "\n".join(f"- {line}" for line in complaints) + "\n"
