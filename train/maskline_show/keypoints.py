"""Keypoints in a drawn picture: a dot each, and lines between them.

Letters: J keypoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]


def draw_keypoints(
    canvas: Image.Image,
    points: npt.NDArray[np.float32],
    lines: Sequence[tuple[int, int]],
    colour: Colour,
    dot_colours: Sequence[Colour],
    size_px: int,
) -> None:
    """Draw the keypoints of one object into the picture.

    Everything has a dark rim, and dots a white ring inside it, so that it shows on bright and on dark ground and on
    its own colour.

    Args:
        canvas: RGB, changed.
        points: [J, 3] x, y in continuous pixels of the canvas, score; what has none above 0 is not drawn.
        lines: pairs of indices, e.g. of `coco_person.lines_between`.
        colour: of the lines.
        dot_colours: J of them.
        size_px: width of the lines; dots are a few pixels larger, so 0 suits a small object.
    """
    pen = ImageDraw.Draw(canvas)
    places = [(math.floor(x), math.floor(y)) for x, y, _ in points]  # the pixel that holds it
    there = points[:, 2] > 0
    joined = [(places[a], places[b]) for a, b in lines if there[a] and there[b]]
    for width, ink in ((size_px + 2, (0, 0, 0)), (max(1, size_px), colour)):
        for ends in joined:
            pen.line(ends, fill=ink, width=width)
    rings = ((size_px + 3, (0, 0, 0)), (size_px + 2, (255, 255, 255)))
    for j in reversed(range(len(points))):  # the first on top
        x, y = places[j]
        for radius, ink in (*rings, (size_px + 1, dot_colours[j])) if there[j] else ():
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
