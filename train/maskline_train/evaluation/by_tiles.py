"""Find the objects of a large picture tile by tile, and those of the whole of it that no tile holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from maskline_command.tile_options import check_tile_options
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
from pycocotools import mask as coco_mask

from maskline_train.data.canvas import preprocess_batch
from maskline_train.data.coco import PIXEL_CENTRE
from maskline_train.data.images import Pixels
from maskline_train.evaluation.evaluate import Result, image_results, to_results
from maskline_train.evaluation.paste import Rle
from maskline_train.model.mask_rcnn import MaskRCNN

_BATCH = 4  # tiles of one forward pass


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How pictures are looked at.

    Attributes:
        side_px: of a tile.
        overlap_px: what neighbours share at least; an object no larger is whole in one of them.
    """

    side_px: int
    overlap_px: int

    def __post_init__(self) -> None:
        """Refuse what cannot be laid."""
        check_overlap(self.side_px, self.overlap_px)


def tiling_of(side_px: int | None, overlap_px: int | None) -> Tiling | None:
    """What `--tiles` and `--overlap` say; None without the first.

    Raises:
        ValueError: an overlap without tiles, or of more than half of one.
    """
    check_tile_options(side_px, overlap_px)
    if side_px is None:
        return None
    return Tiling(side_px, default_overlap(side_px) if overlap_px is None else overlap_px)


def detect_by_tiles(
    model: MaskRCNN, tiling: Tiling, category_ids: Sequence[int], image: Pixels, image_id: int
) -> list[Result]:
    """The objects of one picture as COCO results, best first, in pixels of the picture.

    Args:
        model: in evaluation mode, on any device.
        tiling: how it is cut; the picture as a whole is looked at, too, where it is more than one tile.
        category_ids: of each class.
        image: [H, W, 3] uint8 RGB.
        image_id: of the results.
    """
    size = image.shape[0], image.shape[1]
    tiles = grid(size, tiling.side_px, tiling.overlap_px)
    batches = [tiles[first : first + _BATCH] for first in range(0, len(tiles), _BATCH)]
    if len(tiles) > 1:  # in a batch of its own: some networks have a canvas for each size
        tiles.append(Tile(0, 0, *size))
        batches.append(tiles[-1:])
    pieces = [found for batch in batches for found in _pieces(model, image, batch)]
    objects = merged(pieces, tiles, size)
    keypoints = [piece.keypoints for piece in objects if piece.keypoints is not None]
    masks = None if model.spec.mask_head is None else [_encoded(piece, size) for piece in objects]
    return image_results(
        image_id,
        [category_ids[piece.label] for piece in objects],
        np.array([piece.box for piece in objects], np.float32).reshape(-1, 4),
        np.array([piece.score for piece in objects], np.float32),
        masks,
        np.stack(keypoints) if keypoints else None,
    )


def _encoded(piece: Piece, size: tuple[int, int]) -> Rle:
    rle: Rle = coco_mask.frPyObjects({"size": list(size), "counts": run_lengths(piece, size).tolist()}, *size)
    return rle


@torch.no_grad()
def _pieces(model: MaskRCNN, image: Pixels, tiles: Sequence[Tile]) -> list[list[Piece]]:
    """What is found in each of some tiles."""
    device = model.rpn_head.conv.weight.device
    crops = [np.ascontiguousarray(image[tile.y0 : tile.y1, tile.x0 : tile.x1]) for tile in tiles]
    canvas, info = preprocess_batch(crops, model.spec.preprocessing)
    detections = model.detect(torch.from_numpy(canvas).to(device), torch.from_numpy(info).to(device))
    results = to_results(detections, info, range(len(tiles)), range(model.spec.num_classes), model.spec.paste)
    return [[_piece(tile, result) for result in found] for tile, found in zip(tiles, results, strict=True)]


def _piece(tile: Tile, result: Result) -> Piece:
    x, y, width, height = result["bbox"]
    box, keypoints = (x, y, x + width, y + height), None
    if "keypoints" in result:  # as COCO has them: indices of pixels
        indices = np.array(result["keypoints"], np.float32).reshape(-1, 3)
        keypoints = indices + np.array([PIXEL_CENTRE, PIXEL_CENTRE, 0], np.float32)
    if "segmentation" not in result:
        return piece_of_box(tile, box, result["score"], result["category_id"], keypoints)
    mask = coco_mask.decode(result["segmentation"]).astype(bool)
    return piece_of_mask(tile, box, result["score"], result["category_id"], mask, keypoints)
