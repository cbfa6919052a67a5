"""One of the objects of a picture, with what is around it.

Letters: J keypoints, H W the window.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_show.drawable import Drawable
from maskline_show.thinned import draw_within

_CONTEXT = 0.75  # of the longer side of its box, on each side of an object
_LEAST_PX = 24  # on each side: of a small object one sees where it is


class Window:
    """Object `index` alone, in the part of its picture that lies around its box.

    Attributes:
        place: x0, y0, x1, y1 of the window in the picture, whole px.
    """

    def __init__(self, found: Drawable, index: int) -> None:
        """Choose the window; it stays inside the picture."""
        self._found, self._index = found, index
        x0, y0, x1, y1 = (float(value) for value in found.boxes[index])
        margin = max(_LEAST_PX, _CONTEXT * max(x1 - x0, y1 - y0))
        height, width = found.image_size
        left, top = max(0, math.floor(x0 - margin)), max(0, math.floor(y0 - margin))
        right, bottom = min(width, math.ceil(x1 + margin)), min(height, math.ceil(y1 + margin))
        self.place = (left, top, right, bottom)
        self.image_size = (bottom - top, right - left)
        only = slice(index, index + 1)
        self.boxes = found.boxes[only] - np.array([left, top, left, top], np.float32)
        self.scores = None if found.scores is None else found.scores[only]
        self.labels, self.names, self.rle = found.labels[only], tuple(found.names[only]), found.rle
        whole = found.keypoints
        self.keypoints = None if whole is None else whole[only] - np.array([left, top, 0], np.float32)
        self.keypoint_names = found.keypoint_names

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """[H, W] of the one object, `index` 0."""
        left, top, right, bottom = self.place
        return self._found.mask(self._index + index)[top:bottom, left:right]


def draw_one(image: Image.Image, found: Drawable, index: int, longest_px: int) -> Image.Image:
    """Object `index` and what is around it, at most `longest_px` a side.

    Args:
        image: the upright picture, of the size `found.image_size`.
        found: its objects.
        index: of the one that is drawn.
        longest_px: as of `draw_within`.
    """
    window = Window(found, index)
    return draw_within(image.crop(window.place), window, longest_px)
