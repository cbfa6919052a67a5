"""A picture cut into tiles, and what was found in them put together.

Letters: H W picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from maskline_tiles import Piece, Tile, grid, merged, piece_of_box, piece_of_mask, run_lengths

from maskline_client import rle as rle_codec
from maskline_client.detections import Detection, Detections
from maskline_client.images import ImageSource, decode_rgb, encode
from maskline_client.served_model import ServedModel


@dataclasses.dataclass(frozen=True)
class CutPicture:
    """A picture and what of it is asked about: its tiles, and last the whole; of one no larger than a tile that alone.

    Attributes:
        size: (height, width), px.
        tiles: where they are.
        sources: of each what is sent: its pixels; of the whole the file as it came.
    """

    size: tuple[int, int]
    tiles: Sequence[Tile]
    sources: Sequence[ImageSource]

    @classmethod
    def of(cls, image: ImageSource, side: int, overlap: int) -> Self:
        """Cut it; `side` and `overlap` in px."""
        data = encode(image)
        pixels = np.asarray(decode_rgb(data))
        size = pixels.shape[0], pixels.shape[1]
        tiles = grid(size, side, overlap)
        if len(tiles) == 1:
            return cls(size, [Tile(0, 0, *size)], [data])
        parts: list[ImageSource] = [np.ascontiguousarray(pixels[t.y0 : t.y1, t.x0 : t.x1]) for t in tiles]
        return cls(size, [*tiles, Tile(0, 0, *size)], [*parts, data])

    def together(self, found: Sequence[Detections], model: ServedModel) -> Detections:
        """The objects of the picture, each once.

        Args:
            found: the answer about each of `sources`.
            model: that gave all of them.
        """
        pieces = [[_piece(tile, each) for each in of_tile] for tile, of_tile in zip(self.tiles, found, strict=True)]
        return _as_detections(merged(pieces, self.tiles, self.size), self.size, found[-1], model)


def _piece(tile: Tile, found: Detection) -> Piece:
    x0, y0, x1, y1 = found.box.tolist()
    if found.rle is None:
        return piece_of_box(tile, (x0, y0, x1, y1), found.score, found.label, found.keypoints)
    return piece_of_mask(tile, (x0, y0, x1, y1), found.score, found.label, found.mask(), found.keypoints)


def _as_detections(objects: list[Piece], size: tuple[int, int], whole: Detections, model: ServedModel) -> Detections:
    """What is in the picture; `whole`: an answer of the same model."""
    rle = None
    if model.has_masks:
        rle = tuple(rle_codec.encode_counts(run_lengths(piece, size)) for piece in objects)
    keypoints: npt.NDArray[np.float32] | None = None
    if whole.keypoints is not None:
        rows = [piece.keypoints for piece in objects if piece.keypoints is not None]
        keypoints = np.stack(rows) if rows else whole.keypoints[:0]
    return Detections(
        boxes=np.array([piece.box for piece in objects], np.float32).reshape(-1, 4),
        scores=np.array([piece.score for piece in objects], np.float32),
        labels=np.array([piece.label for piece in objects], np.int32),
        names=tuple(model.classes[piece.label] for piece in objects),
        rle=rle,
        image_size=size,
        keypoints=keypoints,
        keypoint_names=whole.keypoint_names,
        model=whole.model,
    )
