"""What the comparison shows on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from maskline_bench.compare.sides import EAGER

HEADINGS = (
    "side", "type", "at once", "images/s", "times eager", "p50 ms", "p99 ms", "of GEMM peak", "AP lost", "MiB",
)  # fmt: skip


def figure_text(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def peak_text(peak: float | dict[str, float]) -> str:
    """One process's MiB, or the sum of a server's."""
    return f"{sum(peak.values()) if isinstance(peak, dict) else peak:.0f}"


def show(console: Console, result: dict[str, Any]) -> None:
    """A row for each side and number at once."""
    table = Table(title=f"{result['benchmark']}, {result['device']}", title_justify="left")
    for heading in (
        "side",
        "type",
        "at once",
        "images/s",
        "times eager",
        "p50 ms",
        "p99 ms",
        "of GEMM peak",
        "AP lost",
        "MiB",
    ):
        table.add_column(heading, justify="left" if heading in ("side", "type") else "right")
    for name, side in result["sides"].items():
        for row, (at_once, run) in enumerate(side["runs"].items()):
            eager = result["sides"][EAGER]["runs"].get(at_once)
            table.add_row(
                name if row == 0 else "",
                side["precision"] if row == 0 else "",
                at_once,
                f"{run['images_per_second']:.3g}",
                f"{run['images_per_second'] / eager['images_per_second']:.2f}" if eager else "",
                figure_text(run["p50_ms"]),
                figure_text(run["p99_ms"]),
                f"{run['share_of_gemm_peak']:.0%}",
                f"{side['ap_lost']['segm']:.1f}" if row == 0 else "",
                peak_text(side["peak_mib"]) if row == 0 else "",
            )
    console.print(table)
    for name, reason in result["left_out"].items():
        console.print(f"left out: {name}: {reason}")
