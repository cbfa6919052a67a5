"""From what was found in each tile to what is in the picture.

Two tiles that overlap see the same pixels there. So two detections of a class are one object where, in the area that
both tiles see, their masks agree. Of an object that a tile sees whole its detection is taken as it is; of one that no
tile sees whole the parts are put together. Two objects that touch each other do not agree, wherever a tile ends.

Letters: N pieces, T tiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from maskline_tiles.grid import Tile
from maskline_tiles.piece import Piece

AGREE = 0.5  # IoU, as COCO's first threshold
EXPLAINED = 0.5  # of a cut piece's pixels, inside an object that another tile sees whole
NEAR_PX = 2.0  # a box that ends so near to a tile's inner edge is cut by it; masks of networks end a pixel before


def merged(pieces: Sequence[Sequence[Piece]], tiles: Sequence[Tile], size: tuple[int, int]) -> list[Piece]:
    """The objects of a picture.

    1. Pieces that touch no inner edge of their tile are whole. Of those that agree the best stays.
    2. Those of the whole picture, where that was looked at, too, join them where no tile has the object whole: a tile
       sees it larger.
    3. A cut piece that is mostly inside one of these objects is a part of it, and goes.
    4. Cut pieces that agree become one object: masks and boxes together, the best score. One that agrees with none goes
       where another tile sees all of it, not at its own edge, and found nothing.

    Pieces without a pixel are left out: nothing says which of them are one. The order of tiles and pieces changes
    nothing.

    Args:
        pieces: of each tile, what was found in it.
        tiles: T of them, as `grid` gives them, and the whole picture as one more tile where that was looked at, too.
        size: (H, W) of the picture.

    Returns:
        Best first.
    """
    pairs = [(piece, tile) for tile, of in zip(tiles, pieces, strict=True) for piece in of]
    found = [_Seen(piece, tile, size) for piece, tile in pairs if piece.mask.size]
    found.sort(key=_order)
    beside = _beside(found)
    kept: dict[int, _Seen] = {}
    for coarse in (False, True):
        for index, seen in enumerate(found):
            known = any(other in kept and _agree(seen, found[other]) for other in beside[index])
            if seen.coarse is coarse and not seen.cut and not known:
                kept[index] = seen
    cut = {
        index
        for index, seen in enumerate(found)
        if seen.cut and not any(other in kept and _is_part(seen, found[other]) for other in beside[index])
    }
    groups = _groups(cut, found, beside)
    joined = [
        _joined([found[index].piece for index in group]) for group in groups if not _is_stray(group, found, tiles)
    ]
    return sorted([*(seen.piece for seen in kept.values()), *joined], key=lambda piece: (-piece.score, piece.box))


class _Seen:
    """A piece with its tile: `cut` where it reaches an inner edge of that, `coarse` where that is the whole picture."""

    def __init__(self, piece: Piece, tile: Tile, size: tuple[int, int]) -> None:
        self.piece, self.tile, self.size = piece, tile, size
        self.coarse = (tile.height, tile.width) == size
        self.cut = _reaches_edge(piece, tile, size)


def _order(seen: _Seen) -> tuple[float, int, tuple[float, ...], Tile]:
    """Best first; the rest for the same answer whatever the order was."""
    return -seen.piece.score, seen.piece.label, seen.piece.box, seen.tile


def _reaches_edge(piece: Piece, tile: Tile, size: tuple[int, int]) -> bool:
    """Whether box or mask end at an edge of the tile that is none of the picture, or beyond it."""
    x0, y0, x1, y1 = piece.box
    if piece.mask.size:
        x0, y0, x1, y1 = min(x0, piece.x0), min(y0, piece.y0), max(x1, piece.x1), max(y1, piece.y1)
    return (
        (tile.y0 > 0 and y0 <= tile.y0 + NEAR_PX)
        or (tile.x0 > 0 and x0 <= tile.x0 + NEAR_PX)
        or (tile.y1 < size[0] and y1 >= tile.y1 - NEAR_PX)
        or (tile.x1 < size[1] and x1 >= tile.x1 - NEAR_PX)
    )


def _beside(found: Sequence[_Seen]) -> list[list[int]]:
    """Of each piece those of its class in other tiles whose windows share pixels with its own."""
    edges = np.array([(s.piece.y0, s.piece.x0, s.piece.y1, s.piece.x1) for s in found], np.int64).reshape(-1, 4)
    order = np.argsort(edges[:, 0], kind="stable")
    y0, x0, y1, x1 = edges[order].T
    labels = np.array([s.piece.label for s in found], np.int64)[order]
    numbers = {tile: number for number, tile in enumerate({s.tile for s in found})}
    tiles = np.array([numbers[s.tile] for s in found], np.int64)[order]
    ends = np.searchsorted(y0, y1)  # of the pieces that begin below one the first that begins under its last row
    beside: list[list[int]] = [[] for _ in found]
    for place, end in enumerate(ends.tolist()):
        rest = slice(place + 1, end)
        shares = (labels[rest] == labels[place]) & (tiles[rest] != tiles[place]) & (y1[rest] > y0[place])
        shares &= (np.maximum(x0[rest], x0[place]) < np.minimum(x1[rest], x1[place])) & (y1[place] > y0[place])
        for other in order[rest][shares].tolist():
            beside[order[place]].append(other)
            beside[other].append(int(order[place]))
    return beside


def _agree(one: _Seen, other: _Seen) -> bool:
    """Whether the masks are of one object by what both tiles see."""
    a, b, first, second = one.tile, other.tile, one.piece, other.piece
    y0, x0, y1, x1 = max(a.y0, b.y0), max(a.x0, b.x0), min(a.y1, b.y1), min(a.x1, b.x1)
    y0, x0 = max(y0, min(first.y0, second.y0)), max(x0, min(first.x0, second.x0))
    y1, x1 = min(y1, max(first.y1, second.y1)), min(x1, max(first.x1, second.x1))
    own, others = first.within(y0, x0, y1, x1), second.within(y0, x0, y1, x1)
    common = int((own & others).sum())
    return common > 0 and common >= AGREE * int((own | others).sum())


def _is_part(cut: _Seen, whole: _Seen) -> bool:
    """Whether most of a cut piece is inside an object that is whole."""
    piece = cut.piece
    inside = piece.mask & whole.piece.within(piece.y0, piece.x0, piece.y1, piece.x1)
    return int(inside.sum()) >= EXPLAINED * piece.area


def _groups(cut: set[int], found: Sequence[_Seen], beside: Sequence[Sequence[int]]) -> list[list[int]]:
    """The cut pieces, those that agree together, also by way of others."""
    groups, left = [], set(cut)
    while left:
        group, border = [], [min(left)]
        left.discard(border[0])
        while border:
            index = border.pop()
            group.append(index)
            near = [other for other in beside[index] if other in left and _agree(found[index], found[other])]
            left.difference_update(near)
            border += near
        groups.append(sorted(group))
    return groups


def _is_stray(group: Sequence[int], found: Sequence[_Seen], tiles: Sequence[Tile]) -> bool:
    """Whether a cut piece is alone though a tile beside has all of it away from its own edges."""
    if len(group) > 1:
        return False
    seen = found[group[0]]
    piece, size = seen.piece, seen.size
    return any(
        (tile.height, tile.width) != size
        and (tile.y0 <= piece.y0 and piece.y1 <= tile.y1 and tile.x0 <= piece.x0 and piece.x1 <= tile.x1)
        and not _reaches_edge(piece, tile, size)
        for tile in tiles
        if tile != seen.tile
    )


def _joined(parts: Sequence[Piece]) -> Piece:
    """One object of its parts, the best of which comes first."""
    best = parts[0]
    if len(parts) == 1:
        return best
    y0, x0 = min(part.y0 for part in parts), min(part.x0 for part in parts)
    y1, x1 = max(part.y1 for part in parts), max(part.x1 for part in parts)
    mask = np.zeros((y1 - y0, x1 - x0), np.bool_)
    for part in parts:
        mask |= part.within(y0, x0, y1, x1)
    corners = np.array([part.box for part in parts])
    low, high = corners[:, :2].min(axis=0).tolist(), corners[:, 2:].max(axis=0).tolist()
    keypoints = [part.keypoints for part in parts if part.keypoints is not None]
    return Piece((*low, *high), best.score, best.label, y0, x0, mask, _surest(keypoints) if keypoints else None)


def _surest(keypoints: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Of each of J keypoints the one of the best score."""
    stacked = np.stack(keypoints)
    chosen: npt.NDArray[np.float32] = np.take_along_axis(stacked, stacked[..., 2:].argmax(axis=0)[None], axis=0)[0]
    return chosen
