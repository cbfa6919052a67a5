"""How the plots of the benchmarks look, and their files: the same figures give the same bytes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "maskline",  # the same plot gives the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextlib.contextmanager
def in_our_style() -> Iterator[None]:
    """Within: figures are made, and have to be written, in one style."""
    with matplotlib.rc_context(_STYLE):
        yield


def file_bytes(figure: Figure, kind: Literal["svg", "png"]) -> bytes:
    """The figure's file, dark on light."""
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, facecolor="white", metadata={"Date": None} if kind == "svg" else None)
    return stream.getvalue()
