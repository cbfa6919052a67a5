"""Where tiles lie. Letters: H W picture."""

from __future__ import annotations

from typing import NamedTuple


class Tile(NamedTuple):
    """A part of a picture, in whole pixels of it."""

    y0: int
    x0: int
    height: int
    width: int

    @property
    def y1(self) -> int:
        """The row behind the last one."""
        return self.y0 + self.height

    @property
    def x1(self) -> int:
        """The column behind the last one."""
        return self.x0 + self.width


def default_overlap(side: int) -> int:
    """What neighbours share where nobody says it: a quarter of a tile's side, px."""
    return side // 4


def check_overlap(side: int, overlap: int) -> None:
    """Refuse tiles that cannot be laid.

    Raises:
        ValueError: no side, or an overlap of more than half of it.
    """
    if side < 1 or not 0 <= overlap <= side // 2:
        raise ValueError(f"tiles: got a side of {side} px and an overlap of {overlap}, expected 0 to half of the side")


def grid(size: tuple[int, int], side: int, overlap: int) -> list[Tile]:
    """Tiles of one size that cover a picture, spread evenly; neighbours share at least `overlap` pixels.

    Args:
        size: (H, W) of the picture.
        side: of a tile; a picture that is lower or narrower has tiles as low or narrow as it is.
        overlap: what neighbours share at least, px. An object that is no larger is whole in one of them.

    Returns:
        Row by row.

    Raises:
        ValueError: as `check_overlap`.
    """
    check_overlap(side, overlap)
    rows, columns = (_starts(length, side, overlap) for length in size)
    height, width = (min(length, side) for length in size)
    return [Tile(y0, x0, height, width) for y0 in rows for x0 in columns]


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """The first pixels of the tiles of one axis; the last one ends where the picture does."""
    if length <= side:
        return [0]
    steps = -(-(length - side) // (side - overlap))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]
