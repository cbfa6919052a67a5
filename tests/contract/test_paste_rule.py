"""Each paste rule is one: evaluation, server, host library and oracle give what exact fractions give, ties included.

Masks of eighths in boxes of eighths of a pixel (exact in float32) reach 0.5 exactly at many pixel centres: sums in
float64 miss it there by rounding, on either side.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from math import floor, lcm, trunc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import reference
from maskline_host import mask_rle
from maskline_serve.repository import artifact
from maskline_train.evaluation import paste
from maskline_train.spec import PasteRule
from pycocotools import mask as coco_mask
from support.serving import model_files

ROOT = Path(__file__).parents[2]
server = model_files.load("models/postprocess/1/rle.py")

Mask = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]
Size = tuple[int, int]
SIDES = (1, 2, 5, 14, 28)
CASES = 3000


def case(seed: int) -> tuple[Mask, Box, Size]:
    """A mask of 0 and 1 or of eighths, a box of eighths, perhaps beyond the image or without area, the image's size."""
    rng = np.random.default_rng(seed)
    height, width = (int(side) for side in rng.integers(1, 40, 2))
    side = int(rng.choice(SIDES))
    mask = (rng.random((side, side)) < rng.choice([0.3, 0.5, 0.9, 1.0])).astype(np.float32)
    if rng.random() < 0.25:
        mask *= rng.integers(0, 9, mask.shape).astype(np.float32) / 8
    step = int(rng.choice([1, 2, 4, 8]))  # eighths, quarters, halves, whole pixels
    corners = [rng.integers(-16, 8 * limit + 16, 2) // step * step / 8 for limit in (width, height)]
    (x0, x1), (y0, y1) = (sorted(float(value) for value in pair) for pair in corners)
    return mask, (x0, y0, x1, y1), (height, width)


def weights(start: float, end: float, side: int, limit: int) -> tuple[npt.NDArray[np.int64], int]:
    """Share of each cell of one axis at each pixel centre, [limit, side], times a denominator; and that."""
    step = Fraction(side) / (Fraction(end) - Fraction(start))
    positions = [(Fraction(2 * pixel + 1, 2) - Fraction(start)) * step - Fraction(1, 2) for pixel in range(limit)]
    denominator = lcm(*(position.denominator for position in positions))
    found = np.zeros((limit, side), np.int64)
    for row, position in zip(found, positions, strict=True):
        below = floor(position)
        after = int((position - below) * denominator)
        for cell, share in ((below, denominator - after), (below + 1, after)):
            if 0 <= cell < side:
                row[cell] = share
    return found, denominator


def whole_pixels(low: float, high: float, side: int, limit: int) -> tuple[float, float, slice]:
    """The axis of a box of the rule `detectron` without its outermost cells, and which pixels the box has at all.

    Eighths and their sums are exact in float32; the product with (M + 2) / M is rounded, as the rule says.
    """
    half = float(np.float32((high - low) / 2) * np.float32((side + 2) / side))
    centre = (low + high) / 2
    first, last = (trunc(float(np.float32(corner))) for corner in (centre - half, centre + half))
    cell = Fraction(last - first + 1, side + 2)
    return first + cell, last + 1 - cell, slice(max(first, 0), max(last + 1, 0))  # type: ignore[return-value]


def exact(mask: Mask, box: Box, size: Size, rule: PasteRule) -> tuple[npt.NDArray[np.bool_], int]:
    """The pixels by the rule in whole numbers, and how many of them are 0.5 exactly."""
    x0, y0, x1, y1 = box
    within = np.ones(size, bool)
    if rule == "detectron":
        x0, x1, columns_within = whole_pixels(x0, x1, len(mask), size[1])
        y0, y1, rows_within = whole_pixels(y0, y1, len(mask), size[0])
        within = np.zeros(size, bool)
        within[rows_within, columns_within] = True
    elif x1 <= x0 or y1 <= y0:
        return np.zeros(size, bool), 0
    by_row, rows = weights(y0, y1, len(mask), size[0])
    by_column, columns = weights(x0, x1, len(mask), size[1])
    assert 16 * rows * columns < 2**62
    twice, one = 2 * (by_row @ (8 * mask).astype(np.int64) @ by_column.T), 8 * rows * columns
    ties = within & (twice == one)
    return within & (twice > one) | (ties if rule == "aligned" else False), int(ties.sum())


def decoded(counts: bytes, size: Size) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = coco_mask.decode({"size": list(size), "counts": counts}).astype(bool)
    return found


def by_host(mask: Mask, box: Box, size: Size, rule: PasteRule) -> npt.NDArray[np.bool_]:
    (counts,) = mask_rle.encode(mask[None], [box], size, threads=1, paste=rule)
    return decoded(counts, size)


IMPLEMENTATIONS: dict[str, Callable[[Mask, Box, Size, PasteRule], npt.NDArray[np.bool_]]] = {
    "evaluation": paste.paste_mask,
    "server": lambda mask, box, size, rule: decoded(server.encode_mask(mask, box, size, rule), size),
    "host library": by_host,
    "oracle": reference.paste_mask,
}
# The loops of the oracle take a second for ten images.
SHARE = {"oracle": 20}


@pytest.fixture(scope="module", params=["aligned", "detectron"])
def rule(request: pytest.FixtureRequest) -> PasteRule:
    found: PasteRule = request.param
    return found


@pytest.fixture(scope="module")
def answers(rule: PasteRule) -> list[tuple[npt.NDArray[np.bool_], int]]:
    return [exact(*case(seed), rule) for seed in range(CASES)]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_every_implementation_gives_what_exact_fractions_give(
    name: str, rule: PasteRule, answers: list[tuple[npt.NDArray[np.bool_], int]]
) -> None:
    """The same pixels, with no tolerance."""
    wrong = []
    for seed in range(0, CASES, SHARE.get(name, 1)):
        differ = IMPLEMENTATIONS[name](*case(seed), rule) != answers[seed][0]
        if differ.any():
            wrong.append((seed, int(differ.sum())))
    assert wrong == []


def test_the_cases_have_ties(answers: list[tuple[npt.NDArray[np.bool_], int]]) -> None:
    ties = [count for _, count in answers]
    assert sum(count > 0 for count in ties) > CASES / 4
    assert any(count > 0 for count in ties[:: SHARE["oracle"]])


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("along", ["x", "y"])
def test_a_centre_a_rounding_outside_its_box_is_on_the_edge(name: str, along: str) -> None:
    """The first centre lies one step of float32 (6e-8 px) before the box; the value there is 0.5 - 3e-9."""
    low = float(np.nextafter(np.float32(0.5), np.float32(1)))
    box, size = ((low, -20.0, 40.5, 24.0), (4, 41)) if along == "x" else ((-20.0, low, 24.0, 40.5), (41, 4))
    assert IMPLEMENTATIONS[name](np.ones((2, 2), np.float32), box, size, "aligned").all()


def test_the_constants_are_the_same_everywhere() -> None:
    text = (ROOT / "plugins" / "mask_rle" / "math.h").read_text(encoding="utf-8")
    slack = re.search(r"kSLACK = (0x1p-\d+);", text)
    edge = re.search(r"kEDGE_PX = (1e-\d+);", text)
    assert slack is not None
    assert edge is not None
    assert float.fromhex(slack[1]) == server._SLACK == paste._SLACK == 2**-28
    assert server.RULES == paste.THRESH == {"aligned": 0.5 - 2**-28, "detectron": 0.5 + 2**-28}
    assert set(mask_rle.PASTE_RULES) == set(server.RULES) == set(artifact.PASTE_RULES)
    assert float(edge[1]) == server._EDGE_PX == paste._EDGE_PX == 1e-7
    page = (
        (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("(the paste rule)")[1].split("\n## ")[0]
    )
    assert {"0.5", "2^-28", "1e-7"} <= set(re.findall(r"\d[\d.]*(?:e-\d|\^-\d+)?\d?", page))
