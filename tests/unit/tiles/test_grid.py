"""Tiles cover a picture, all of one size, and share what was asked for."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from maskline_tiles import Tile, grid


@settings(deadline=None)  # a loaded machine has none
@given(
    height=st.integers(1, 900), width=st.integers(1, 900), side=st.integers(40, 400), share=st.floats(0, 0.5)
)  # fmt: skip
def test_every_pixel_is_in_a_tile_and_neighbours_overlap(height: int, width: int, side: int, share: float) -> None:
    overlap = int(side * share)
    tiles = grid((height, width), side, overlap)
    covered = np.zeros((height, width), bool)
    for tile in tiles:
        assert (tile.height, tile.width) == (min(side, height), min(side, width))
        assert tile.y0 >= 0
        assert tile.y1 <= height
        assert tile.x0 >= 0
        assert tile.x1 <= width
        covered[tile.y0 : tile.y1, tile.x0 : tile.x1] = True
    assert covered.all()
    for starts, length in ((sorted({t.y0 for t in tiles}), height), (sorted({t.x0 for t in tiles}), width)):
        assert all(after - before <= min(side, length) - overlap for before, after in itertools.pairwise(starts))


def test_a_grid_by_hand() -> None:
    assert grid((100, 250), 100, 20) == [Tile(0, 0, 100, 100), Tile(0, 75, 100, 100), Tile(0, 150, 100, 100)]


def test_a_small_picture_is_one_tile() -> None:
    assert grid((60, 80), 100, 20) == [Tile(0, 0, 60, 80)]


@pytest.mark.parametrize(("side", "overlap"), [(0, 0), (100, 51), (100, -1)])
def test_tiles_that_cannot_be_are_refused(side: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to half of the side"):
        grid((500, 500), side, overlap)
