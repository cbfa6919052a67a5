"""What is found in tiles becomes each object of the picture once.

Truth is cut into tiles as a perfect detector would find it there, with scores at random, and put together again.
"""

import random

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from maskline_tiles import Piece, Tile, grid, merged, piece_of_box, piece_of_mask, run_lengths
from pycocotools import mask as coco_mask

SIZE, SIDE, OVERLAP = (150, 220), 80, 30
TILES = grid(SIZE, SIDE, OVERLAP)
WHOLE = Tile(0, 0, *SIZE)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]]
Mask = np.ndarray


def ellipse(y: float, x: float, high: float, wide: float, turned: float = 0.0) -> Mask:
    across = (COLUMNS - x) * np.cos(turned) + (ROWS - y) * np.sin(turned)
    along = (ROWS - y) * np.cos(turned) - (COLUMNS - x) * np.sin(turned)
    return (across / wide) ** 2 + (along / high) ** 2 <= 1


def box_of(mask: Mask) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def pieces_in(tile: Tile, truth: list[Mask], rng: random.Random, labels: list[int] | None = None) -> list[Piece]:
    """Each object that has a pixel in the tile, as a perfect detector of that tile alone finds it."""
    found = []
    for index, mask in enumerate(truth):
        seen = mask[tile.y0 : tile.y1, tile.x0 : tile.x1]
        if seen.any():
            label = 0 if labels is None else labels[index]
            found.append(piece_of_mask(tile, box_of(seen), rng.uniform(0.1, 1), label, seen))
    return found


def whole(piece: Piece) -> Mask:
    return piece.within(0, 0, *SIZE)


def assert_each_once(found: list[Piece], truth: list[Mask]) -> None:
    assert len(found) == len(truth)
    left = [whole(piece) for piece in found]
    for mask in truth:
        places = [index for index, other in enumerate(left) if (other == mask).all()]
        assert places
        del left[places[0]]
    for piece in found:
        assert piece.box == box_of(whole(piece))


shapes = st.builds(
    ellipse,
    st.floats(0, SIZE[0]), st.floats(0, SIZE[1]), st.floats(1, 60), st.floats(1, 60), st.floats(0, 3.2),
)  # fmt: skip


@settings(deadline=None)  # a loaded machine has none
@given(st.lists(shapes, max_size=12), st.integers(0, 1 << 30))
def test_objects_of_any_size_and_place_come_out_once_and_exact(drawn: list[Mask], seed: int) -> None:
    taken = np.zeros(SIZE, bool)
    truth = []
    for mask in drawn:
        mask = mask & ~taken  # none over another; touching ones all the more
        if mask.any():
            taken |= mask
            truth += list(connected(mask))
    rng = random.Random(seed)
    assert_each_once(merged([pieces_in(tile, truth, rng) for tile in TILES], TILES, SIZE), truth)


def connected(mask: Mask) -> list[Mask]:
    """The connected parts: an object in two parts may lie in tiles that share no pixel of it."""
    from skimage.measure import label

    parts = label(mask, connectivity=1)
    return [parts == number for number in range(1, parts.max() + 1)]


@settings(deadline=None)  # a loaded machine has none
@given(st.lists(shapes, min_size=1, max_size=8), st.integers(0, 1 << 30))
def test_the_order_of_tiles_and_pieces_changes_nothing(truth: list[Mask], seed: int) -> None:
    rng = random.Random(seed)
    truth = [mask for mask in truth if mask.any()]  # over each other as they are
    pairs = [(tile, pieces_in(tile, truth, rng)) for tile in [*TILES, WHOLE]]

    def answer() -> list[tuple]:
        found = merged([pieces for _, pieces in pairs], [tile for tile, _ in pairs], SIZE)
        return [(piece.score, piece.box, whole(piece).tobytes()) for piece in found]

    before = answer()
    for _, pieces in pairs:
        rng.shuffle(pieces)
    rng.shuffle(pairs)
    assert answer() == before


def test_neighbours_that_touch_at_the_seam_stay_two() -> None:
    seam = TILES[1].x0 + OVERLAP // 2
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[20:40, seam - 12 : seam] = right[20:40, seam : seam + 12] = True
    rng = random.Random(0)
    assert_each_once(merged([pieces_in(tile, [left, right], rng) for tile in TILES], TILES, SIZE), [left, right])


def test_classes_are_kept_apart() -> None:
    disc = ellipse(40, 75, 10, 10)
    pieces = [pieces_in(tile, [disc, disc], random.Random(1), [0, 1]) for tile in TILES]
    assert sorted(piece.label for piece in merged(pieces, TILES, SIZE)) == [0, 1]


def test_a_part_is_no_object_where_another_tile_has_it_whole() -> None:
    """Also where the part was drawn so badly that the masks do not agree."""
    disc = ellipse(40, TILES[0].x1 - 13, 13, 13)
    part = disc[: TILES[0].y1, : TILES[0].x1].copy()
    part[:40] = False  # half of what is visible
    pieces = [[] for _ in TILES]
    pieces[0] = [piece_of_mask(TILES[0], box_of(part), 0.99, 0, part)]
    pieces[1] = pieces_in(TILES[1], [disc], random.Random(2))
    assert_each_once(merged(pieces, TILES, SIZE), [disc])


def test_a_cut_piece_that_the_better_tile_does_not_confirm_goes() -> None:
    sliver = np.zeros(SIZE, bool)
    sliver[30:40, TILES[0].x1 - 3 : TILES[0].x1] = True
    pieces = [[] for _ in TILES]
    pieces[0] = pieces_in(TILES[0], [sliver], random.Random(3))
    assert merged(pieces, TILES, SIZE) == []
    long = np.zeros(SIZE, bool)
    long[30:40, TILES[0].x1 - OVERLAP - 20 : TILES[0].x1] = True  # no other tile sees all of this
    pieces[0] = pieces_in(TILES[0], [long], random.Random(3))
    assert_each_once(merged(pieces, TILES, SIZE), [long])


def test_the_whole_picture_gives_what_no_tile_has_and_no_second_of_what_one_has() -> None:
    large, small = ellipse(75, 110, 70, 100), ellipse(20, 15, 6, 6)
    rough = small.copy()
    rough[14:16] = False  # as a small picture shows it
    rng = random.Random(4)
    pieces = [pieces_in(tile, [large, small], rng) for tile in TILES]
    view = [piece_of_mask(WHOLE, box_of(mask), 0.999, 0, mask) for mask in (large, rough)]
    assert_each_once(merged([*pieces, view], [*TILES, WHOLE], SIZE), [large, small])


def test_the_surest_of_each_keypoint_is_taken() -> None:
    bar = np.zeros(SIZE, bool)
    bar[30:36, 40:130] = True
    tiles = [Tile(0, 0, 150, 90), Tile(0, 60, 150, 160)]
    sure = [np.array([[41, 33, 0.9], [88, 33, 0.2]], np.float32), np.array([[61, 33, 0.1], [129, 33, 0.8]], np.float32)]
    pieces = []
    for tile, points in zip(tiles, sure, strict=True):
        seen = bar[:, tile.x0 : tile.x1]
        local = points - np.array([tile.x0, 0, 0], np.float32)
        pieces.append([piece_of_mask(tile, box_of(seen), 0.5, 0, seen, local)])
    (found,) = merged(pieces, tiles, SIZE)
    np.testing.assert_array_equal(found.keypoints, [[41, 33, np.float32(0.9)], [129, 33, np.float32(0.8)]])


def test_boxes_alone_are_put_together_by_their_pixels() -> None:
    tiles = [Tile(0, 0, 150, 90), Tile(0, 60, 150, 160)]
    pieces = [
        [piece_of_box(tiles[0], (70.2, 10.0, 85.4, 30.0), 0.6, 0)],
        [piece_of_box(tiles[1], (10.4, 10.0, 25.4, 30.2), 0.8, 0)],
    ]
    (found,) = merged(pieces, tiles, SIZE)
    assert found.box == (70.4, 10.0, 85.4, 30.2)
    assert found.score == 0.8


def test_a_box_thinner_than_a_pixel_is_there_once_and_nothing_without_pixels() -> None:
    tiles = [Tile(0, 0, 150, 90), Tile(0, 60, 150, 160)]
    thin = [[piece_of_box(tile, (75.6 - tile.x0, 10.6, 76.4 - tile.x0, 11.4), 0.6, 0)] for tile in tiles]
    assert len(merged(thin, tiles, SIZE)) == 1
    empty = [
        [piece_of_mask(tile, (70.0, 10.0, 80.0, 20.0), 0.6, 0, np.zeros((150, tile.width), bool))] for tile in tiles
    ]
    assert merged(empty, tiles, SIZE) == []


@settings(deadline=None)  # a loaded machine has none
@example(ellipse(SIZE[0] - 1.0, SIZE[1] - 1.0, 20.0, 60.0), False)  # with the last pixel, behind which nothing is
@given(shapes, st.booleans())
def test_run_lengths_are_those_of_the_whole_mask(mask: Mask, full_columns: bool) -> None:
    if full_columns:
        mask = mask | (COLUMNS // 7 % 5 == 0)  # runs that go on in the next column
    if not mask.any():
        return
    piece = piece_of_mask(WHOLE, box_of(mask), 1.0, 0, mask)
    rle = coco_mask.frPyObjects({"size": list(SIZE), "counts": run_lengths(piece, SIZE).tolist()}, *SIZE)
    assert rle == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_many_pieces_take_no_minutes() -> None:
    """One hundred tiles with fifty objects each: a second or so; a comparison of all pairs of masks took an hour."""
    size = (2300, 2300)
    tiles = grid(size, 256, 32)
    assert len(tiles) >= 100
    rng = np.random.default_rng(0)
    truth = [Tile(int(y), int(x), 20, 20) for y, x in rng.integers(0, 2280, (4000, 2))]
    full = np.ones((20, 20), bool)
    pieces = []
    for tile in tiles:
        inside = [t for t in truth if t.y0 >= tile.y0 and t.x0 >= tile.x0 and t.y1 <= tile.y1 and t.x1 <= tile.x1]
        pieces.append([Piece((t.x0, t.y0, t.x1, t.y1), float(rng.uniform()), 0, t.y0, t.x0, full) for t in inside])
    assert sum(map(len, pieces)) > 5000
    assert 3000 < len(merged(pieces, tiles, size)) <= 4000
