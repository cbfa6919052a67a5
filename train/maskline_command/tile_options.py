"""`--tiles` and `--overlap` of the commands that look at large pictures tile by tile."""

from __future__ import annotations

from typing import Annotated

import typer

Tiles = Annotated[
    int | None, typer.Option(min=32, help="Look at large pictures in tiles of this side, px, and put them together.")
]
Overlap = Annotated[
    int | None, typer.Option(min=0, help="What neighbouring tiles share at least, px; by default a quarter of a tile.")
]


def check_tile_options(tiles: int | None, overlap: int | None) -> None:
    """Refuse an overlap of no tiles.

    Raises:
        ValueError: `--overlap` without `--tiles`.
    """
    if tiles is None and overlap is not None:
        raise ValueError(f"--overlap: got {overlap} without --tiles, expected both or --tiles alone")
