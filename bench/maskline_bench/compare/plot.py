"""The comparison's plot: images a second, and latencies, of each side by how many files it was given at once."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskline_bench.compare.show import figure_text
from maskline_bench.figure_file import file_bytes, in_our_style

_COLOURS = ("#0b5394", "#6fa8dc", "#b6d7a8", "#f6b26b")  # by how many at once
_BAR = 0.8  # of a side's place, for all its bars


def plot(result: dict[str, Any], kind: Literal["svg", "png"]) -> bytes:
    """The file's bytes.

    Args:
        result: of `maskline_bench.compare`.
        kind: the file's type.
    """
    sides = result["sides"]
    levels = sorted({int(at_once) for side in sides.values() for at_once in side["runs"]})
    with in_our_style():
        figure = Figure(figsize=(9, 1.2 + 0.75 * len(sides)), layout="constrained")
        rates, latencies = figure.subplots(1, 2, sharey=True)
        for index, at_once in enumerate(levels):
            _bars(rates, sides, at_once, index, len(levels), "images_per_second")
            _bars(latencies, sides, at_once, index, len(levels), "p50_ms")
        rates.set_yticks(range(len(sides)), list(sides))
        rates.invert_yaxis()
        rates.set_xlabel("images a second")
        latencies.set_xlabel("ms, p50; the line reaches to p99")
        figure.legend(*rates.get_legend_handles_labels(), loc="outside upper left", ncols=len(levels))
        return file_bytes(figure, kind)


def _bars(axes: Axes, sides: dict[str, Any], at_once: int, index: int, levels: int, name: str) -> None:
    """One bar a side that has this number at once, with its figure at the end."""
    height = _BAR / levels
    for place, side in enumerate(sides.values()):
        run = side["runs"].get(str(at_once))
        if run is None:
            continue
        y = place - _BAR / 2 + height * (index + 0.5)
        label = f"{at_once} at once" if place == 0 else None
        end = run["p99_ms"] if name == "p50_ms" else run[name]
        axes.barh(y, run[name], height, color=_COLOURS[index % len(_COLOURS)], label=label)
        if name == "p50_ms":
            axes.plot([run[name], end], [y, y], color="#444444", linewidth=1)
        axes.annotate(figure_text(run[name]), (end, y), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.margins(x=0.18)
