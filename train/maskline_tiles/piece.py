"""What was found in one tile, in pixels of the picture: its mask as what lies in a window. Letters: h w window."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from maskline_tiles.grid import Tile

Mask = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """An object of one tile, or of the whole picture.

    Attributes:
        box: x0 y0 x1 y1 in continuous pixels of the picture.
        score: 0..1.
        label: class index.
        y0: first row of the window.
        x0: first column of the window.
        mask: [h, w], with an object's pixel on each border of it; [0, 0] where there is none.
        keypoints: [J, 3] x, y in continuous pixels of the picture, and a score; None without keypoints.
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    y0: int
    x0: int
    mask: Mask
    keypoints: npt.NDArray[np.float32] | None = None

    @property
    def y1(self) -> int:
        """The row behind the window."""
        return self.y0 + self.mask.shape[0]

    @property
    def x1(self) -> int:
        """The column behind the window."""
        return self.x0 + self.mask.shape[1]

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())

    def within(self, y0: int, x0: int, y1: int, x1: int) -> Mask:
        """The mask in an area of the picture, False where the window does not reach: [y1 - y0, x1 - x0]."""
        out = np.zeros((max(0, y1 - y0), max(0, x1 - x0)), np.bool_)
        top, left, bottom, right = max(y0, self.y0), max(x0, self.x0), min(y1, self.y1), min(x1, self.x1)
        if top < bottom and left < right:
            inside = self.mask[top - self.y0 : bottom - self.y0, left - self.x0 : right - self.x0]
            out[top - y0 : bottom - y0, left - x0 : right - x0] = inside
        return out


def piece_of_mask(
    tile: Tile,
    box: tuple[float, float, float, float],
    score: float,
    label: int,
    mask: Mask,
    keypoints: npt.NDArray[np.float32] | None = None,
) -> Piece:
    """A detection of a tile: box, keypoints and mask [tile.height, tile.width] are those of the tile."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy() if len(rows) else mask[:0, :0]
    y0, x0 = (int(rows[0]), int(columns[0])) if len(rows) else (0, 0)
    return Piece(_moved(tile, box), score, label, tile.y0 + y0, tile.x0 + x0, window, _points(tile, keypoints))


def piece_of_box(
    tile: Tile,
    box: tuple[float, float, float, float],
    score: float,
    label: int,
    keypoints: npt.NDArray[np.float32] | None = None,
) -> Piece:
    """A detection without a mask: its pixels are all that the box touches. Box and keypoints are those of the tile."""
    left, top, right, bottom = _moved(tile, box)
    x0, y0 = math.floor(left), math.floor(top)
    window = np.ones((max(1, math.ceil(bottom) - y0), max(1, math.ceil(right) - x0)), np.bool_)
    return Piece(_moved(tile, box), score, label, y0, x0, window, _points(tile, keypoints))


def run_lengths(piece: Piece, size: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The runs of a mask at the size (H, W) of the picture, as COCO counts them: down the columns, zeros first.

    No mask of the picture's size is made.
    """
    height, width = size
    columns = np.zeros((piece.mask.shape[1], piece.mask.shape[0] + 2), np.int8)
    columns[:, 1:-1] = piece.mask.T
    column, row = np.nonzero(np.diff(columns, axis=1))  # where a run of ones begins or ends, each column by itself
    places = (column + piece.x0) * height + row + piece.y0
    begins, ends = places[0::2], places[1::2]
    joined = np.flatnonzero(begins[1:] == ends[:-1])  # a run that goes on in the next column
    edges = np.stack([np.delete(begins, joined + 1), np.delete(ends, joined)], axis=1).ravel()
    found: npt.NDArray[np.int64] = np.diff(np.concatenate([[0], edges, [height * width]]))
    return found if found[-1] else found[:-1]  # of a mask with the last pixel no zeros follow


def _moved(tile: Tile, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return box[0] + tile.x0, box[1] + tile.y0, box[2] + tile.x0, box[3] + tile.y0


def _points(tile: Tile, keypoints: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32] | None:
    return None if keypoints is None else keypoints + np.array([tile.x0, tile.y0, 0], np.float32)
