"""Objects of a large picture for a small one.

Letters: N objects, J keypoints, H W the picture.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskline_show.drawable import Drawable
from maskline_show.picture import ColourBy, draw, viewing_scale


class Thinned:
    """What was found, in a picture whose sides are divided by a factor; colours and texts stay.

    Of a mask the pixels in the middle of those of the small picture are kept: no mask is resampled.
    """

    def __init__(self, found: Drawable, factor: float) -> None:
        """Divide by a factor of at least 1."""
        self._found, self._factor = found, factor
        self.scores, self.labels, self.names = found.scores, found.labels, found.names
        self.rle, self.keypoint_names = found.rle, found.keypoint_names
        self.boxes = found.boxes / np.float32(factor)
        whole = found.keypoints
        self.keypoints = None if whole is None else whole / np.array([factor, factor, 1], np.float32)
        height, width = found.image_size
        # Less what a quotient's rounding adds to a whole number.
        self.image_size = (math.ceil(height / factor - 1e-9), math.ceil(width / factor - 1e-9))

    def mask(self, index: int) -> npt.NDArray[np.bool_]:
        """[H, W] of the small picture."""
        rows, columns = (
            np.minimum(((np.arange(small) + 0.5) * self._factor).astype(int), whole - 1)
            for small, whole in zip(self.image_size, self._found.image_size, strict=True)
        )
        mask: npt.NDArray[np.bool_] = self._found.mask(index)[np.ix_(rows, columns)]
        return mask


def draw_within(image: Image.Image, found: Drawable, longest_px: int, *, colour_by: ColourBy = "class") -> Image.Image:
    """Draw objects on a picture of a size to look at: a small one is enlarged, a large one made smaller before.

    Labels are drawn last, so that they can be read whatever the picture's size was.

    Args:
        image: the upright picture, of the size `found.image_size`.
        found: the objects.
        longest_px: of the sides of what is returned; a small picture is enlarged as far as `viewing_scale` says.
        colour_by: as of `draw`.

    Raises:
        ValueError: the picture has another size than its objects.
    """
    factor = max(found.image_size) / longest_px
    if factor <= 1:
        scale = min(viewing_scale(found.image_size), math.floor(1 / factor))
        return draw(image, found, colour_by=colour_by, scale=scale)
    thin = Thinned(found, factor)
    height, width = thin.image_size
    return draw(image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), thin, colour_by=colour_by)
