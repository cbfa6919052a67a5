"""`TiledDetector`: large pictures in tiles, so that small objects keep their pixels.

Letters: H W picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from maskline_tiles import (
    Piece,
    Tile,
    check_overlap,
    default_overlap,
    grid,
    merged,
    piece_of_box,
    piece_of_mask,
    run_lengths,
)

from maskline_client import rle as rle_codec
from maskline_client.detections import Detection, Detections
from maskline_client.detector import IN_FLIGHT, ImageDetector
from maskline_client.images import ImageSource, decode_rgb, encode
from maskline_client.served_model import ServedModel


class TiledDetector(ImageDetector):
    """Another detector, asked about the tiles of each image and about the image as a whole.

    Tiles are cut here and sent as PNGs. What is found in them is put together: an object that several tiles see is
    there once, one that no tile sees whole is joined of its parts, and what no tile holds comes from the whole image.

    Args:
        detector: a `Detector` or `LocalDetector`; closed with this one.
        side: of a tile, px. As large as the network's canvas, a tile is not resized.
        overlap: what neighbouring tiles share at least, px; None: a quarter of the side. An object no larger is whole
            in one of them.
        in_flight: tiles under way at a time.
        advance: called with the tiles of an image that are done, and how many it has.

    Raises:
        ValueError: an overlap of more than half a tile.

    Example:
        >>> with TiledDetector(Detector("127.0.0.1:8001"), side=512) as detector:  # doctest: +SKIP
        ...     print(detector.detect("aerial.jpg"))
    """

    def __init__(
        self,
        detector: ImageDetector,
        side: int = 512,
        overlap: int | None = None,
        *,
        in_flight: int = IN_FLIGHT,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._detector, self._side, self._in_flight, self._advance = detector, side, in_flight, advance
        self._overlap = default_overlap(side) if overlap is None else overlap
        check_overlap(self._side, self._overlap)

    @property
    def model(self) -> ServedModel:
        """What answers: class names, masks or not, the names of keypoints."""
        return self._detector.model

    def close(self) -> None:
        """Close the detector that is asked."""
        self._detector.close()

    def _detect(self, image: ImageSource, of: ServedModel | None, masks: bool) -> Detections:
        data = encode(image)
        pixels = np.asarray(decode_rgb(data))
        size = pixels.shape[0], pixels.shape[1]
        tiles = grid(size, self._side, self._overlap)
        if len(tiles) == 1:
            return self._detector._detect(data, of, masks)
        # All tiles by one model: answers of two would be no answer.
        model = of or (self.model if masks else self.model.boxes_alone())
        tiles.append(Tile(0, 0, *size))
        sources: list[ImageSource] = [np.ascontiguousarray(pixels[t.y0 : t.y1, t.x0 : t.x1]) for t in tiles[:-1]]
        found = []
        for outcome in self._detector.try_detect_many([*sources, data], self._in_flight, model, masks=masks):
            found.append(outcome.unwrap())
            self._advance(len(found), len(tiles))
        pieces = [[_piece(tile, each) for each in of_tile] for tile, of_tile in zip(tiles, found, strict=True)]
        return _as_detections(merged(pieces, tiles, size), size, found[-1], model)


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
