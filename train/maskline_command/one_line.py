"""What a mistake is told by: one line, however much of a file the error quotes."""

from __future__ import annotations

MOST = 500  # characters


def one_line(error: object) -> str:
    """The text of an error on one line, its end cut off where it is long."""
    text = " ".join(str(error).split())
    return text if len(text) <= MOST else f"{text[:MOST]}..."
