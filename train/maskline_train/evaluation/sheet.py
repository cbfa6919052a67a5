"""Pictures side by side on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP_PX = 8
CAPTION_PX = 15  # height of its letters
_GROUND, _INK = (255, 255, 255), (28, 36, 48)


def contact_sheet(pictures: Sequence[Image.Image], columns: int, captions: Sequence[str] | None = None) -> Image.Image:
    """The pictures row by row, each at the top of a white tile that holds the largest, in its middle.

    Args:
        pictures: RGB.
        columns: pictures of a row.
        captions: a line above each picture, cut to its tile; None leaves no room for any.

    Raises:
        ValueError: no picture, no column, or another number of captions.
    """
    if not pictures or columns < 1 or (captions is not None and len(captions) != len(pictures)):
        raise ValueError(
            f"contact_sheet: got {len(pictures)} pictures, {columns} columns and "
            f"{'no' if captions is None else len(captions)} captions; expected at least 1 each, a caption a picture"
        )
    columns = min(columns, len(pictures))
    width, height = (max(picture.size[side] for picture in pictures) for side in (0, 1))
    above = 0 if captions is None else CAPTION_PX + GAP_PX
    step_x, step_y = width + GAP_PX, above + height + GAP_PX
    sheet = Image.new("RGB", (columns * step_x - GAP_PX, math.ceil(len(pictures) / columns) * step_y - GAP_PX), _GROUND)
    for i, picture in enumerate(pictures):
        left, top = i % columns * step_x, i // columns * step_y
        if captions is not None:
            sheet.paste(_caption(captions[i], width, above), (left, top))
        sheet.paste(picture, (left + (width - picture.width) // 2, top + above))
    return sheet


def _caption(text: str, width: int, height: int) -> Image.Image:
    """A line of text in the middle of its own ground, beyond which nothing of it reaches."""
    font = ImageFont.load_default(CAPTION_PX)
    ground = Image.new("RGB", (width, height), _GROUND)
    place = (max(width / 2, font.getlength(text) / 2), height / 2)  # a text that is too long begins at the left
    ImageDraw.Draw(ground).text(place, text, _INK, font, anchor="mm")
    return ground
