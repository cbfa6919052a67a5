"""The picture of a step: a row for each part, a bar for each time it runs.

Run: python -m maskline_bench.step_timeline.plot JSON SVG
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from maskline_train.files import replace_file
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.figure_file import file_bytes, in_our_style
from maskline_bench.result_file import read_json
from maskline_bench.step_timeline.parts import LANES, PARTS, lanes_of, spent

_COLOURS = {"host_ms": "#0b5394", "device_ms": "#e69138"}
_BAR = 0.7  # of a row, for the bars of all lanes
_GRID = "#dddddd"


def plot(result: dict[str, Any], kind: Literal["svg", "png"]) -> bytes:
    """The file's bytes.

    Args:
        result: of `maskline_bench.step_timeline`.
        kind: the file's type.
    """
    ranges = result["timeline"]["ranges"]
    lanes = lanes_of(ranges)
    with in_our_style():
        figure = Figure(figsize=(9, 0.9 + 0.27 * len(PARTS)), layout="constrained")
        axes = figure.subplots()
        for index, lane in enumerate(lanes):
            _lane(axes, ranges, lane, index, len(lanes))
        _figures(axes, ranges, lanes)
        axes.set_yticks(range(len(PARTS)), PARTS)
        axes.set_ylim(len(PARTS) - 0.5, -0.5)
        axes.set_xlim(0, max(range_[lane][1] for range_ in ranges for lane in lanes))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_GRID)
        axes.set_axisbelow(True)
        axes.set_xlabel("ms from the start of the step" + ("" if len(lanes) > 1 else ", of the processor"))
        if len(lanes) > 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=len(lanes))
        return file_bytes(figure, kind)


def _lane(axes: Axes, ranges: list[dict[str, Any]], lane: str, index: int, lanes: int) -> None:
    """The bars of one lane; its line keeps a bar of no width in sight."""
    height = _BAR / lanes
    for number, range_ in enumerate(ranges):
        y = PARTS.index(range_["part"]) - _BAR / 2 + height * (index + 0.5)
        start, end = range_[lane]
        label = LANES[lane] if number == 0 else None
        colour = _COLOURS[lane]
        axes.barh(y, end - start, height, start, color=colour, edgecolor=colour, linewidth=0.8, label=label)


def _figures(axes: Axes, ranges: list[dict[str, Any]], lanes: list[str]) -> None:
    """At the right of each row what it takes in all."""
    for row, part in enumerate(PARTS):
        sums = [spent(ranges, part, lane) for lane in lanes]
        text = " / ".join(f"{value:.3g}" if value < 100 else f"{value:.0f}" for value in sums)
        axes.annotate(f"{text} ms", (1.01, row), xycoords=axes.get_yaxis_transform(), va="center", fontsize=8)


def main(
    result: Annotated[Path, typer.Argument(help="A file that step_timeline wrote with --json.")],
    svg: Annotated[Path, typer.Argument(help="The picture to write.")],
) -> None:
    """Draw a measured step again.

    Example: python -m maskline_bench.step_timeline.plot out/step.json out/step.svg
    """
    with in_one_line("bench-timeline"):
        step = read_json(result)
        if "timeline" not in step:
            raise BenchmarkError(f"{result}: got no timeline, expected a file that step_timeline wrote with --json")
        replace_file(svg, plot(step, "svg"))


if __name__ == "__main__":
    typer.run(main)
