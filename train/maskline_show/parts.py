"""What our pages are made of: escaped text, sections, tables, tiles, pictures that the page holds itself."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

LONG_TEXT = 24  # characters of a cell that stay on one line
JPEG_QUALITY = 85  # no difference to be seen on a page, in a tenth of a PNG's bytes


def text(value: object) -> str:
    """Escaped text of a value; floats short."""
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def section(title: str, content: str, note: str = "") -> str:
    """A card with a heading.

    Args:
        title: plain text.
        content: HTML.
        note: plain text below the heading.
    """
    under = f'<p class="soft">{text(note)}</p>' if note else ""
    return f"<section><h2>{text(title)}</h2>{under}{content}</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of plain values: the first column is aligned left, the others right."""
    lines = ("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
    heading = "".join(f"<th>{text(name)}</th>" for name in head)
    return f"<table><tr>{heading}</tr>{''.join(lines)}</table>"


def cell(value: object) -> str:
    """A cell; long text may break into lines, or it would be cut where the page ends."""
    kind = ' class="words"' if isinstance(value, str) and len(value) > LONG_TEXT else ""
    return f"<td{kind}>{text(value)}</td>"


def facts(values: Mapping[str, object]) -> str:
    """A table of names and values."""
    rows = "".join(
        f'<tr><td>{text(name)}</td><td class="words">{text(value)}</td></tr>' for name, value in values.items()
    )
    return f"<table>{rows}</table>"


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """The few figures that a reader looks for first, each with what it is."""
    cells = "".join(f'<div class="tile"><b>{text(value)}</b><span>{text(name)}</span></div>' for value, name in values)
    return f'<div class="tiles">{cells}</div>'


def picture(image: Image.Image, said: str) -> str:
    """An <img> that holds its bytes.

    Args:
        image: RGB.
        said: what it shows, for who cannot see it.
    """
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{text(said)}" src="data:image/jpeg;base64,{data}">'
