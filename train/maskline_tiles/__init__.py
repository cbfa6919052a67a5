"""Large pictures by tiles: where they lie, and how what was found in them becomes what is in the picture.

Stands alone on numpy, so that training and the client may use it.
"""

from maskline_tiles.grid import Tile, check_overlap, default_overlap, grid
from maskline_tiles.merge import merged
from maskline_tiles.piece import Piece, piece_of_box, piece_of_mask, run_lengths

__all__ = [
    "Piece",
    "Tile",
    "check_overlap",
    "default_overlap",
    "grid",
    "merged",
    "piece_of_box",
    "piece_of_mask",
    "run_lengths",
]
