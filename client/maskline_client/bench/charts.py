"""The report's plots, as SVG that follows the page's light or dark theme.

matplotlib writes fixed colours; each colour used here stands for a CSS variable of the page and is replaced by it in
the SVG's text.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maskline_client.bench.results import Run
from maskline_client.bench.statistics import PHASES

# Colours that occur nowhere else in matplotlib's output, and the CSS variable each is replaced by.
_INK, _GRID = "#010203", "#010204"
_SERIES = ("#010205", "#010206", "#010207", "#010208")
_VARIABLES = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    **{colour: f"var(--series-{index + 1})" for index, colour in enumerate(_SERIES)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, and drawn in the page's font
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "legend.frameon": False,
    "svg.hashsalt": "maskline",  # the same plot gives the same bytes
}
PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")


def latency_chart(levels: Sequence[Run]) -> str:
    """SVG: latency percentiles of the closed loop by concurrency, ms."""

    def draw(axes: Axes) -> None:
        x = range(len(levels))
        for name, colour in zip(PERCENTILES, _SERIES, strict=True):
            values = [getattr(run.latency, name) for run in levels]
            axes.plot(x, values, "o-", color=colour, label=name.removesuffix("_ms"), linewidth=2)
        axes.set_xticks(list(x), [str(run.concurrency) for run in levels])
        axes.set_xlabel("requests in flight")
        axes.set_ylabel("latency, ms")

    return _draw(draw)


def throughput_chart(levels: Sequence[Run]) -> str:
    """SVG: images a second of the closed loop by concurrency."""

    def draw(axes: Axes) -> None:
        x = list(range(len(levels)))
        values = [run.images_per_second for run in levels]
        bars = axes.bar(x, values, width=0.55, color=_SERIES[0], label="images/s")
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, color=_INK)
        axes.set_xticks(x, [str(run.concurrency) for run in levels])
        axes.set_xlabel("requests in flight")
        axes.set_ylabel("images a second")

    return _draw(draw)


def steps_chart(run: Run) -> str:
    """SVG: where a request's time went on the server, one bar a step, in the order of the ensemble."""

    def draw(axes: Axes) -> None:
        y = list(range(len(run.steps)))
        left = [0.0] * len(y)
        for phase, colour in zip(PHASES, _SERIES, strict=True):
            widths = [getattr(step, f"{phase}_us") / 1e3 for step in run.steps]
            axes.barh(y, widths, left=left, height=0.6, color=colour, label=phase.replace("_", " "))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for position, total in zip(y, left, strict=True):
            axes.annotate(
                f"{total:.3g}", (total, position), (4, 0), textcoords="offset points", va="center", color=_INK
            )
        axes.set_yticks(y, [step.model for step in run.steps])
        axes.invert_yaxis()
        axes.margins(x=0.12)  # room for the figures at the ends of the bars
        axes.set_xlabel("mean ms a request")

    return _draw(draw, grid_axis="x", height=1.2 + 0.42 * max(2, len(run.steps)))


def _draw(draw: Callable[[Axes], None], *, grid_axis: Literal["x", "y"] = "y", height: float = 3.4) -> str:
    """Set up one figure in the report's style, let `draw` fill it, and return the themed SVG element."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis=grid_axis, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        values = axes.yaxis if grid_axis == "y" else axes.xaxis
        values.set_major_locator(MaxNLocator(nbins=6))
        if grid_axis == "y":
            axes.set_ylim(bottom=0)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg[svg.index("<svg") :]
