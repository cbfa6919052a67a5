"""A run's figures on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

# Heading, and a side's figure as text.
_COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "images/s": lambda figures: f"{figures['images_per_second']:.4g}",
    "median s": lambda figures: f"{figures['timing']['median_s']:.4g}",
    "min s": lambda figures: f"{figures['timing']['min_s']:.4g}",
    "p90 s": lambda figures: f"{figures['timing']['p90_s']:.4g}",
    "GFLOP": lambda figures: f"{figures['gflop']:.0f}",
    "of GEMM peak": lambda figures: f"{figures['share_of_gemm_peak']:.0%}",
    "launches": lambda figures: str(figures.get("launches_a_step", "-")),
    "synchronisations": lambda figures: (
        f"{figures['synchronisations_a_step']:.1f}" if "synchronisations_a_step" in figures else "-"
    ),
    "peak MiB": lambda figures: f"{figures['peak_mib']:.0f}",
}


def show(console: Console, result: Mapping[str, Any]) -> None:
    """A table for each batch size, the losses, and the gains by batch size."""
    setting = result["setting"]
    console.print(
        f"canvas {setting['height']}x{setting['width']}, {setting['objects']} made objects an image on scikit-image's "
        f"photographs; random weights, the same on all sides; seconds of a step, in rounds of "
        f"{setting['steps_a_round']}; RoIAlign, proposals and mask targets of ours by {result['ops']}",
        highlight=False,
    )
    for each in result["batches"]:
        console.print(_table(each))
        for side, figures in each["sides"].items():
            first = figures["losses_first_step"]
            terms = ", ".join(f"{name} {value:.4g}" for name, value in first.items())
            last = sum(figures["losses_last_step"].values())
            console.print(f"{side}: first loss {sum(first.values()):.4g} ({terms}), last {last:.4g}", highlight=False)
    console.print(_gains(result))
    for name, reason in result["left_out"].items():
        console.print(f"left out: {name}: {reason}", highlight=False)


def _table(each: Mapping[str, Any]) -> Table:
    table = Table(title=f"one step of batch {each['batch']}", title_justify="left")
    table.add_column("side")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for side, figures in each["sides"].items():
        table.add_row(side, *(cell(figures) for cell in _COLUMNS.values()))
    return table


def _gains(result: Mapping[str, Any]) -> Table:
    """Times the peer's speed; they shrink as batches grow, so each size has its column."""
    title = f"times as fast as {result['peer']}: medians, and by rounds"
    table = Table(title=title, title_justify="left")
    table.add_column("side")
    for each in result["batches"]:
        table.add_column(f"batch {each['batch']}", justify="right")
    for side in result["batches"][0]["sides"]:
        found = [each["sides"][side] for each in result["batches"]]
        table.add_row(side, *(f"{f['ratio_of_medians']:.3f}, {f['median_of_ratios']:.3f}" for f in found))
    return table
