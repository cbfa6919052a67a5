"""Masks to RLE: the server's numpy and libmaskline_host.so agree byte for byte, whatever boxes and masks say.

A text's runs are as many pixels as the image has; where it is small, pycocotools reads and writes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from atheris import FuzzedDataProvider
from fuzz.oracle import judged
from maskline_client import rle as client_rle
from maskline_host import HostLibraryError, mask_rle
from pycocotools import mask as coco
from support.serving import model_files

rle = model_files.load("models/postprocess/1/rle.py")

SIDES = (1, 2, 3, 7, 14, 28, 56, 63)
VALUES = (0.0, 1.0, 0.5, 0.5 - 2.0**-25, 0.5 + 2.0**-24, -1.0, 2.0, 1e38, -1e38, 1e-45, np.inf, -np.inf, np.nan)
EDGES = (0.0, 0.5, 1.0, -1.0, 7.25, 31.5, 1e4, 1e9, -1e9, 3e38, -3e38, 1e-40, np.inf, -np.inf, np.nan)
HEIGHTS = (1, 2, 3, 17, 48, 480, 20_000, 65_535)
WIDTHS = (1, 2, 3, 17, 48, 640, 2000)  # the work grows with them
FALSE_SIZES = ((0, 1), (1, 0), (-1, 5), (5, -1), (2**31 - 1, 2), (65_536, 65_536), (-(2**31), -(2**31)))
_SMALL_PX = 1 << 16


def prepare(_: Path) -> Callable[[bytes], None]:
    """The target."""
    return run


def run(data: bytes) -> None:
    """One mask in one box of one image."""
    choices = FuzzedDataProvider(data)
    paste = choices.PickValueInList(["aligned", "detectron"])
    side = choices.PickValueInList(list(SIDES))
    size = choices.PickValueInList(list(HEIGHTS)), choices.PickValueInList(list(WIDTHS))
    box = np.array([_edge(choices, size) for _ in range(4)], np.float32)
    mask = _mask(choices, side)
    if choices.ConsumeIntInRange(0, 7) == 0:
        size = choices.PickValueInList(list(FALSE_SIZES))
        with judged(HostLibraryError):
            mask_rle.encode(mask[None], box[None], size, threads=1, paste=paste)
            raise AssertionError(f"an image of {size} was taken")
        return
    with judged():
        by_library = mask_rle.encode(mask[None], box[None], size, threads=1, paste=paste)[0]
        with np.errstate(all="ignore"):
            by_numpy = rle.encode_mask(mask, box, size, paste)
    assert by_library == by_numpy, (by_library[:80], by_numpy[:80])
    assert client_rle.decode_counts(by_numpy).sum() == size[0] * size[1]
    if size[0] * size[1] <= _SMALL_PX:
        pixels = coco.decode({"size": list(size), "counts": by_numpy})
        assert coco.encode(pixels)["counts"] == by_numpy


def _edge(choices: FuzzedDataProvider, size: tuple[int, int]) -> float:
    if choices.ConsumeBool():
        return choices.PickValueInList(list(EDGES))
    return choices.ConsumeIntInRange(-8, 8 * max(size)) / 8


def _mask(choices: FuzzedDataProvider, side: int) -> np.ndarray:
    """[M,M] float32: a few cells on one ground."""
    mask = np.full((side, side), choices.PickValueInList(list(VALUES)), np.float32)
    for _ in range(choices.ConsumeIntInRange(0, 40)):
        cell = choices.ConsumeIntInRange(0, side - 1), choices.ConsumeIntInRange(0, side - 1)
        is_odd = choices.ConsumeBool()
        mask[cell] = choices.PickValueInList(list(VALUES)) if is_odd else choices.ConsumeIntInRange(0, 255) / 255
    return mask
