"""The frame of a report: one HTML file that carries its style, readable in light and dark."""

from __future__ import annotations

import html
from importlib.resources import files


def whole_page(title: str, body: str) -> str:
    """A page as text; it refers to no other file and no network address.

    Args:
        title: plain text.
        body: HTML.
    """
    style = files("maskline_show").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )
