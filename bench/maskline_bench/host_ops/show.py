"""How the result of one case is printed, whatever the op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from maskline_bench.measure import Timing, timing_table


def show(
    console: Console,
    title: str,
    label: str,
    result: Mapping[str, Any],
    timings: Mapping[str, Timing],
    targets: Mapping[str, float],
    columns: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """The table of all sides, and a line for each peer.

    Args:
        console: where to.
        title: of the table.
        label: how the lines name the case: its id in docs/benchmarks/README.md first.
        result: with `timings` and `ratio_of_medians`, JSON-ready.
        timings: of all sides.
        targets: peer to the ratio aimed at, where there is one.
        columns: further ones, heading to a cell a side.
    """
    p99 = {"p99 s": [f"{entry['p99_s']:.4g}" for entry in result["timings"].values()]}
    console.print(timing_table(title, timings, {**p99, **(columns or {})}))
    for name, ratio in result["ratio_of_medians"].items():
        aim = f", target {targets[name]:g}" if name in targets else ""
        console.print(f"[bold]{label}: {ratio:.1f} times as fast as {name}[/bold] (medians{aim})")


def show_inside(console: Console, label: str, ratio: float | None, target: float) -> None:
    """The line for our custom op in ONNX Runtime against the body that runs without it; None: there is no library."""
    if ratio is None:
        console.print(
            f"{label}: libmaskline_ort.so is not built (`make plugins` says why): not timed inside onnxruntime"
        )
        return
    console.print(f"[bold]{label}: inside onnxruntime {ratio:.1f} times its body[/bold] (medians, target {target:g})")
