"""Photographs with objects drawn on them: what a network without trained weights can be taught in minutes to find.

Letters: G objects of a picture, H W its size.
"""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from maskline_bench.peers import Photograph

COLOURS = 8  # classes in use; a class is a hue
_SIDES = (0.05, 0.3)  # of an object, as shares of the picture's: evenly by logarithm
_TRIES = 20  # for a free place, an object


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A picture and the objects on it.

    Attributes:
        picture: [H, W, 3] uint8 RGB.
        boxes: [G, 4] float32 xyxy px.
        labels: [G] int64, 0..COLOURS-1.
        masks: [G, H, W] uint8.
    """

    picture: Photograph
    boxes: Tensor
    labels: Tensor
    masks: Tensor


def draw_objects(photograph: Photograph, count: int, seed: int) -> Drawn:
    """Filled ellipses of many sizes that do not touch, at most `count`: fewer where no room is left."""
    rng = np.random.default_rng(seed)
    height, width = photograph.shape[:2]
    picture, free = Image.fromarray(photograph), np.ones((height, width), bool)
    boxes: list[tuple[int, ...]] = []
    labels: list[int] = []
    masks: list[NDArray[np.uint8]] = []
    for _ in range(_TRIES * count):
        place = _place(rng, height, width)
        mask = _ellipse(place, height, width)
        if len(boxes) == count or not free[mask > 0].all():
            continue
        label = int(rng.integers(COLOURS))
        colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(label / COLOURS, 1, 1))
        ImageDraw.Draw(picture).ellipse(place, fill=colour)
        rows, columns = np.nonzero(mask)
        free[max(0, rows.min() - 1) : rows.max() + 2, max(0, columns.min() - 1) : columns.max() + 2] = False
        boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        labels.append(label)
        masks.append(mask)
    return Drawn(
        np.asarray(picture),
        torch.from_numpy(np.array(boxes, np.float32)),
        torch.tensor(labels),
        torch.from_numpy(np.array(masks)),
    )


def _place(rng: np.random.Generator, height: int, width: int) -> tuple[float, float, float, float]:
    """A box xyxy px inside the picture."""
    low, high = _SIDES
    sides = np.array([width, height]) * low * (high / low) ** rng.uniform(0, 1, 2)
    x0, y0 = rng.uniform(0, np.array([width, height]) - sides)
    return float(x0), float(y0), float(x0 + sides[0] - 1), float(y0 + sides[1] - 1)


def _ellipse(place: tuple[float, float, float, float], height: int, width: int) -> NDArray[np.uint8]:
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse(place, fill=1)
    return np.asarray(mask)
