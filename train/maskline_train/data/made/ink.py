"""Turns an 8 x 8 scan of a handwritten digit into ink: a smooth shape of any size, in a colour that can be read."""

from __future__ import annotations

import colorsys
import dataclasses

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

EDGE = (0.4, 0.56)  # grey levels of the enlarged scan between which ink fades out
MIN_CONTRAST = 80.0  # levels of luma between ink and what is under it
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class Glyph:
    """A digit cut out to its tight box.

    Attributes:
        alpha: [H, W] float32, how much ink covers each pixel, 0..1.
        mask: [H, W] bool, the pixels that belong to the digit: at least half covered.
    """

    alpha: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]


def draw_glyph(scan: npt.NDArray[np.float32], side_px: int, degrees: float) -> Glyph:
    """Enlarge a scan [8, 8] in 0..1 to `side_px`, turned by some degrees, its strokes with smooth edges."""
    padded = np.pad(scan, 2)  # strokes touch the scan's border; the rim also leaves room to turn
    side = round(side_px * padded.shape[0] / scan.shape[0])
    large = Image.fromarray(padded).resize((side, side), Image.Resampling.BICUBIC)
    grey = np.asarray(large.rotate(degrees, Image.Resampling.BICUBIC))
    alpha = np.clip((grey - EDGE[0]) / (EDGE[1] - EDGE[0]), 0.0, 1.0).astype(np.float32)
    mask = alpha >= 0.5
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Glyph(alpha[box], mask[box])


def ink_colour(under: Pixels, glyph: Glyph, min_value: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A random RGB colour whose luma is at least MIN_CONTRAST away from that of the pixels the ink will cover.

    `min_value` is the least V of its HSV; where no colour is found, black or white.
    """
    below = float((under[glyph.mask] @ LUMA).mean())
    colour = np.zeros(3, np.float32)
    for _ in range(30):
        hue, saturation, value = rng.random(), rng.uniform(0.2, 1.0), rng.uniform(min_value, 1.0)
        colour = np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * 255
        if abs(float(colour @ LUMA) - below) >= MIN_CONTRAST:
            return colour
    return np.full(3, 255.0 if below < 128 else 0.0, np.float32)
