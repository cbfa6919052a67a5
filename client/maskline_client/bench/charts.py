"""The report's plots, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

from maskline_show.chart import INK, SERIES, chart
from matplotlib.axes import Axes

from maskline_client.bench.results import Run
from maskline_client.bench.statistics import PHASES

PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")


def latency_chart(levels: Sequence[Run]) -> str:
    """SVG: latency percentiles of the closed loop by concurrency, ms."""

    def draw(axes: Axes) -> None:
        x = range(len(levels))
        for name, colour in zip(PERCENTILES, SERIES, strict=False):
            values = [getattr(run.latency, name) for run in levels]
            axes.plot(x, values, "o-", color=colour, label=name.removesuffix("_ms"), linewidth=2)
        axes.set_xticks(list(x), [str(run.concurrency) for run in levels])
        axes.set_xlabel("requests in flight")
        axes.set_ylabel("latency, ms")

    return chart(draw)


def throughput_chart(levels: Sequence[Run]) -> str:
    """SVG: images a second of the closed loop by concurrency."""

    def draw(axes: Axes) -> None:
        x = list(range(len(levels)))
        values = [run.images_per_second for run in levels]
        bars = axes.bar(x, values, width=0.55, color=SERIES[0], label="images/s")
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, color=INK)
        axes.set_xticks(x, [str(run.concurrency) for run in levels])
        axes.set_xlabel("requests in flight")
        axes.set_ylabel("images a second")

    return chart(draw)


def steps_chart(run: Run) -> str:
    """SVG: where a request's time went on the server, one bar a step, in the order of the ensemble."""

    def draw(axes: Axes) -> None:
        y = list(range(len(run.steps)))
        left = [0.0] * len(y)
        for phase, colour in zip(PHASES, SERIES, strict=False):
            widths = [getattr(step, f"{phase}_us") / 1e3 for step in run.steps]
            axes.barh(y, widths, left=left, height=0.6, color=colour, label=phase.replace("_", " "))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for position, total in zip(y, left, strict=True):
            axes.annotate(f"{total:.3g}", (total, position), (4, 0), textcoords="offset points", va="center", color=INK)
        axes.set_yticks(y, [step.model for step in run.steps])
        axes.invert_yaxis()
        axes.margins(x=0.12)  # room for the figures at the ends of the bars
        axes.set_xlabel("mean ms a request")

    return chart(draw, grid_axis="x", height=1.2 + 0.42 * max(2, len(run.steps)))
