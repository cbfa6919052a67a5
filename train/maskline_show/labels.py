"""Text and place of the labels in a drawn picture: readable, inside the picture, not on top of each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import ImageFont

Rect = tuple[int, int, int, int]  # x0 y0 x1 y1, whole pixels, the last ones included

_MIN_FONT_PX, _MAX_FONT_PX = 11, 48  # below 11 px digits run together; above 48 a label hides more than it tells
_MOST_COVERED = 1 / 6  # of a picture, by labels of the usual length
_LABEL_AREA = 6 * 1.4  # of one of them, in squares of the font's size


@dataclasses.dataclass(frozen=True)
class LabelStyle:
    """Font and margin of the labels of one picture.

    Attributes:
        font: Pillow's scalable font.
        padding_px: between the text and the edge of its box.
    """

    font: Any  # Pillow returns one of two font classes, by what it was built with
    padding_px: int

    @staticmethod
    def for_picture(size: tuple[int, int], num_labels: int = 0) -> LabelStyle:
        """A style that suits a picture of (width, height): many labels are small ones, that something else be seen."""
        room = math.sqrt(_MOST_COVERED * size[0] * size[1] / (_LABEL_AREA * max(1, num_labels)))
        font_px = min(_MAX_FONT_PX, max(_MIN_FONT_PX, round(min(min(size) / 36, room))))
        return LabelStyle(ImageFont.load_default(font_px), max(2, font_px // 4))

    def size(self, text: str) -> tuple[int, int]:
        """(width, height) of a label with this text, px; the same height for any text."""
        ascent, descent = self.font.getmetrics() if hasattr(self.font, "getmetrics") else (_MIN_FONT_PX, 0)
        return round(self.font.getlength(text)) + 2 * self.padding_px, ascent + descent + self.padding_px

    def fit(self, name: str, score: str | None, width: int) -> str:
        """Name and score, or as much of them as a picture of this width holds: the name goes before the score."""
        both = name if score is None else f"{name} · {score}"
        for text in (both, name, *(f"{name[:length]}…" for length in range(len(name) - 1, 0, -1))):
            if self.size(text)[0] <= width:
                return text
        return ""


def place_label(box: Any, label: tuple[int, int], picture: tuple[int, int], taken: Sequence[Rect]) -> Rect:
    """Where a label goes: above its box, else inside at the top (below, if the object is small), below, beside it.

    Args:
        box: [4] xyxy of the object, px.
        label: (width, height) of the label.
        picture: (width, height) of the picture.
        taken: places of the labels drawn before.

    Returns:
        The first place that fits and touches no other label, else the one that overlaps least; inside the picture
        wherever the label is not larger than the picture.
    """
    best: tuple[int, Rect] | None = None
    for x, y in _candidates(box, label):
        x0 = max(0, min(round(x), picture[0] - label[0]))
        y0 = max(0, min(round(y), picture[1] - label[1]))
        place = (x0, y0, x0 + label[0] - 1, y0 + label[1] - 1)
        hidden = sum(_overlap(place, other) for other in taken)
        if hidden == 0 and y0 == round(y):
            return place
        if best is None or hidden < best[0]:
            best = (hidden, place)
    assert best is not None
    return best[1]


def _candidates(box: Any, label: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Top-left corners to try, best first; a label inside a small object would hide it, so that comes after below."""
    x0, y0, x1, y1 = (float(value) for value in box)
    width, height = label
    small = y1 - y0 < 3 * height or x1 - x0 < width
    above, inside_top, below, inside_bottom = y0 - height, y0, y1, y1 - height
    for y in (above, below, inside_top, inside_bottom) if small else (above, inside_top, below, inside_bottom):
        yield x0, y
        yield x1 - width, y
    for step in range(4):
        yield x1, y0 + step * height
        yield x0 - width, y0 + step * height


def _overlap(a: Rect, b: Rect) -> int:
    """Pixels that two places share."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(width, 0) * max(height, 0)
