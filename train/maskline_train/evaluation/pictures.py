"""Draw objects on an image with Pillow: masks, boxes, keypoints, names and scores.

Letters: G objects, J keypoints, H W image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

# Ten colours that stay apart for most colour-blind people as well (after Okabe-Ito and Tol), one a class in turn.
PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (136, 34, 85),
    (68, 170, 153),
    (170, 170, 170),
)
MASK_OPACITY = 0.45


def draw_objects(
    image: npt.NDArray[np.uint8],
    boxes: npt.ArrayLike,
    labels: Sequence[int],
    classes: Sequence[str],
    masks: Iterable[npt.NDArray[np.generic]] | None = None,
    scores: Sequence[float] | None = None,
    keypoints: npt.NDArray[np.floating[Any]] | None = None,
) -> Image.Image:
    """A copy of the image with its objects drawn; none leaves it as it is.

    Args:
        image: [H, W, 3] uint8 RGB.
        boxes: [G, 4] xyxy px of the image.
        labels: [G] class indices.
        classes: names, by class index.
        masks: [G, H, W], true or nonzero where the object is.
        scores: [G], written behind the name as a percentage.
        keypoints: [G, J, 3] x, y px; where the third number is 0 there is none. Each has its own colour.
    """
    pixels = image.astype(np.float32)
    for label, mask in zip(labels, masks if masks is not None else (), strict=masks is not None):
        inside = mask.astype(bool)
        pixels[inside] += MASK_OPACITY * (np.array(colour_of(label), np.float32) - pixels[inside])
    picture = Image.fromarray(np.floor(pixels + 0.5).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    line_px = max(1, round(min(image.shape[:2]) / 200))
    font = ImageFont.load_default(max(10, min(image.shape[:2]) / 24))
    for i, (box, label) in enumerate(zip(np.asarray(boxes, np.float64).reshape(-1, 4), labels, strict=True)):
        text = classes[label] if scores is None else f"{classes[label]} {100 * scores[i]:.0f}%"
        _draw_box(draw, box.tolist(), text, colour_of(label), line_px, font)
    for points in keypoints if keypoints is not None else ():
        _draw_keypoints(draw, points, 2 * line_px)
    return picture


def colour_of(label: int) -> tuple[int, int, int]:
    """The colour of a class; classes ten apart share one."""
    return PALETTE[label % len(PALETTE)]


def contact_sheet(pictures: Sequence[Image.Image], columns: int, tile: tuple[int, int]) -> Image.Image:
    """The pictures row by row, each shrunk to fit a tile of (height, width) px and centred on white.

    Raises:
        ValueError: no picture, or no column.
    """
    if not pictures or columns < 1:
        raise ValueError(f"contact_sheet: got {len(pictures)} pictures, {columns} columns; expected at least 1 each")
    height, width = tile
    gap = 4
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), (255, 255, 255))
    for i, picture in enumerate(pictures):
        small = picture.copy()
        small.thumbnail((width, height))
        x = (i % columns) * (width + gap) + (width - small.width) // 2
        y = (i // columns) * (height + gap) + (height - small.height) // 2
        sheet.paste(small, (x, y))
    return sheet


def _draw_keypoints(draw: ImageDraw.ImageDraw, points: npt.NDArray[np.floating[Any]], radius_px: int) -> None:
    """A filled dot with a dark rim for each of the keypoints [J, 3], the first on top."""
    for j, (x, y, known) in reversed(list(enumerate(points.tolist()))):
        if known > 0:
            dot = (x - 0.5 - radius_px, y - 0.5 - radius_px, x - 0.5 + radius_px, y - 0.5 + radius_px)
            draw.ellipse(dot, fill=colour_of(j), outline=(0, 0, 0))


def _draw_box(
    draw: ImageDraw.ImageDraw,
    box: Sequence[float],
    text: str,
    colour: tuple[int, int, int],
    line_px: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """A frame whose lines lie inside the box, and its name above it (inside, where there is no room above).

    What reaches beyond the picture is drawn at its border.
    """
    width, height = draw.im.size
    x0, x1 = (min(max(x, 0), width) for x in box[::2])
    y0, y1 = (min(max(y, 0), height) for y in box[1::2])
    draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=line_px)
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = line_px + 1
    tag_w, tag_h = right - left + 2 * pad, bottom - top + 2 * pad
    x = min(x0, max(0, width - tag_w))
    y = y0 - tag_h if y0 >= tag_h else y0
    draw.rectangle((x, y, x + tag_w - 1, y + tag_h - 1), fill=colour)
    luma = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (0, 0, 0) if luma > 110 else (255, 255, 255)
    draw.text((x + pad - left, y + pad - top), text, fill=ink, font=font)
