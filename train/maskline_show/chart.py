"""Plots as SVG that follows a page's light or dark theme.

matplotlib writes fixed colours; each colour used here stands for a CSS variable of the page and is replaced by it in
the SVG's text.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any, Literal

# Where it has no home to keep its list of fonts in, it says so while it is imported: no concern of who wants a page.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

import matplotlib  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

# Colours that occur nowhere else in matplotlib's output, and the CSS variable each is replaced by.
INK, _GRID = "#010203", "#010204"
SERIES = tuple(f"#0102{number:02x}" for number in range(5, 13))
_VARIABLES = {
    INK: "var(--ink)",
    _GRID: "var(--grid)",
    **{colour: f"var(--series-{index + 1})" for index, colour in enumerate(SERIES)},
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: selectable, and drawn in the page's font
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": _GRID,
    "legend.frameon": False,
    "svg.hashsalt": "maskline",  # the same plot gives the same bytes
}


def chart(draw: Callable[[Axes], None], *, grid_axis: Literal["x", "y"] = "y", height: float = 3.4) -> str:
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
