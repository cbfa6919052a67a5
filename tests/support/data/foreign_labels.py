"""What tests/foreign/make_labelled.py put into the data sets that other tools wrote."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from support.data.mask_files import HEIGHT, IDS, WIDTH, id_map

FOLDER = Path(__file__).parents[2] / "foreign" / "labelled"

Objects = list[tuple[str, npt.NDArray[np.bool_]]]


def box(x0: int, y0: int, x1: int, y1: int) -> npt.NDArray[np.bool_]:
    """[H, W]: the pixels from (x0, y0) to (x1, y1), which is beyond."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def put_in() -> Objects:
    """Of a picture the classes and masks: three masks, then a polygon."""
    masks = [id_map() == value for value in IDS]
    return [*zip(("dog", "cat", "dog"), masks, strict=True), ("cat", box(2, 30, 12, 38))]


def same(found: Objects, want: Objects) -> bool:
    """Whether these are the same classes and masks, pixel by pixel, in any order."""
    keys = [sorted((name, mask.tobytes()) for name, mask in objects) for objects in (found, want)]
    return keys[0] == keys[1]


def within_a_pixel(found: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_]) -> bool:
    """Whether what is found has all of a mask but its border, and nothing beyond the pixels beside.

    The outlines of supervision run through the numbers of the outermost pixels, which are these pixels' upper left
    corners: the last row and column of an object are lacking, and a slanted outline passes through centres of pixels
    beside.
    """
    inner, outer = (
        change(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) for change in (cv2.erode, cv2.dilate)
    )
    return not np.any(found & ~outer) and not np.any(inner & ~found)
