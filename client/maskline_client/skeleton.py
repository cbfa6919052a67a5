"""Keypoints in a drawn picture: a dot each, and lines between them where the model's are those of COCO's persons.

Letters: J keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from maskline_client.detections import PIXEL_CENTRE

Colour = tuple[int, int, int]

COCO_PERSON = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)
# Ref: https://cocodataset.org/#keypoints-eval; pycocotools `Params.kpt_oks_sigmas`.
COCO_PERSON_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072),
    *(0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089),
    0.089,
)
# "skeleton" of the category person in COCO's person_keypoints files.
_COCO_PERSON_LINES = (
    *(("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee")),
    *(("right_knee", "right_hip"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip")),
    *(("right_shoulder", "right_hip"), ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_elbow")),
    *(("right_shoulder", "right_elbow"), ("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
    *(("left_eye", "right_eye"), ("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear")),
    *(("right_eye", "right_ear"), ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder")),
)


def lines_between(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Which keypoints a line joins, by index: those of COCO's person where the names are its 17, else none."""
    if set(names) != set(COCO_PERSON):
        return ()
    return tuple((names.index(a), names.index(b)) for a, b in _COCO_PERSON_LINES)


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
        points: [J, 3] x, y in continuous pixels of the canvas, probability; what has none is not drawn.
        lines: from `lines_between`.
        colour: of the lines.
        dot_colours: J of them.
        size_px: width of the lines; dots are a few pixels larger, so 0 suits a small object.
    """
    pen = ImageDraw.Draw(canvas)
    # Pillow's coordinates are pixel indices, a keypoint's are continuous.
    places = [(float(x) - PIXEL_CENTRE, float(y) - PIXEL_CENTRE) for x, y, _ in points]
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
