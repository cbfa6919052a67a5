"""What a notebook shows of an answer, which does not hold the image: its objects on plain ground.

Letters: N objects, J keypoints, H W the image.
"""

from __future__ import annotations

import math
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_client.draw.drawable import Drawable
from maskline_client.draw.picture import draw, viewing_scale

LONGEST_SIDE_PX = 1000  # a notebook shows no more across, and masks of a larger picture take seconds to draw
_GROUND = (58, 62, 70)  # dark and without a hue: every colour of the palette stands out from it


class _Thinned:
    """Every `step`-th row and column of what was found; colours and texts stay."""

    def __init__(self, found: Drawable, step: int) -> None:
        self._found, self._step = found, step
        self.scores, self.labels, self.names = found.scores, found.labels, found.names
        self.rle, self.keypoint_names = found.rle, found.keypoint_names
        self.boxes = found.boxes / np.float32(step)
        self.keypoints = None if found.keypoints is None else found.keypoints / np.array([step, step, 1], np.float32)
        height, width = found.image_size
        self.image_size = (math.ceil(height / step), math.ceil(width / step))

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """[H / step, W / step], both rounded up."""
        return self._found.mask(index)[:: self._step, :: self._step]


def preview_png(found: Drawable) -> bytes:
    """The objects on plain ground as a PNG file, a colour each.

    Args:
        found: `Detections`; of an image of more than 1000 px a side every second, third, ... pixel is shown, and a
            small one is enlarged as `viewing_scale` says.
    """
    shown = _Thinned(found, math.ceil(max(found.image_size) / LONGEST_SIDE_PX))
    height, width = shown.image_size
    ground = Image.new("RGB", (width, height), _GROUND)
    file = BytesIO()
    draw(ground, shown, colour_by="instance", scale=viewing_scale(shown.image_size)).save(file, "PNG")
    return file.getvalue()
