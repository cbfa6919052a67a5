"""Chooses what encodes the masks: libmaskline_host.so where the repository carries it, numpy otherwise.

Both give the same bytes. `maskline-serve assemble` puts the library and its binding, `maskline_host`, beside this file.

Letters: N masks, M mask side.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import rle

# masks [N,M,M] float32 probabilities, boxes [N,4] float32 px of the image, sizes [N,2] int32 (height, width) -> N texts
Encoder = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int32]], list[bytes]]


def encode_by_numpy(
    masks: npt.NDArray[np.float32], boxes: npt.NDArray[np.float32], sizes: npt.NDArray[np.int32], paste: str
) -> list[bytes]:
    """COCO compressed RLE of each mask, pasted by one of `rle.RULES`."""
    return [
        rle.encode_mask(mask, box, (int(height), int(width)), paste)
        for mask, box, (height, width) in zip(masks, boxes, sizes, strict=True)
    ]


def choose(side: int, paste: str) -> tuple[Encoder, str]:
    """The encoder of masks with that side and paste rule, and one line for the log that says which it is."""
    by_numpy = functools.partial(encode_by_numpy, paste=paste)
    try:
        from .maskline_host import library, mask_rle
    except ImportError:
        return by_numpy, _slower("this repository holds no libmaskline_host.so")
    if side > mask_rle.MAX_SIDE:
        return by_numpy, _slower(f"libmaskline_host.so takes masks up to {mask_rle.MAX_SIDE} a side, not {side}")
    os.environ.pop(library.VARIABLE, None)  # the repository's own file, whose hash it lists, and no other
    try:
        library.load()
    except library.HostLibraryError as error:
        return by_numpy, _slower(str(error))
    encoder: Any = functools.partial(mask_rle.encode, paste=paste)
    return encoder, "libmaskline_host.so encodes masks"


def _slower(reason: str) -> str:
    return f"numpy encodes masks, some 60 times slower than libmaskline_host.so: {reason}"
