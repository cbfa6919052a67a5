"""What a notebook shows of an answer, which does not hold the image: its objects on plain ground."""

from __future__ import annotations

import math
from io import BytesIO

from maskline_show.drawable import Drawable
from maskline_show.picture import draw, viewing_scale
from maskline_show.thinned import Thinned
from PIL import Image

LONGEST_SIDE_PX = 1000  # a notebook shows no more across, and masks of a larger picture take seconds to draw
_GROUND = (58, 62, 70)  # dark and without a hue: every colour of the palette stands out from it


def preview_png(found: Drawable) -> bytes:
    """The objects on plain ground as a PNG file, a colour each.

    Args:
        found: `Detections`; of an image of more than 1000 px a side every second, third, ... pixel is shown, and a
            small one is enlarged as `viewing_scale` says.
    """
    shown = Thinned(found, math.ceil(max(found.image_size) / LONGEST_SIDE_PX))
    height, width = shown.image_size
    ground = Image.new("RGB", (width, height), _GROUND)
    file = BytesIO()
    draw(ground, shown, colour_by="instance", scale=viewing_scale(shown.image_size)).save(file, "PNG")
    return file.getvalue()
