"""COCO compressed RLE of masks in their boxes, without a pasted mask ever being made; numpy in, bytes out.

Letters: N masks, M mask side.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import library

MAX_SIDE = 63  # the largest M
_GUESS_BYTES = 1024  # a mask; most objects of a photograph take less


def encode(
    masks: npt.NDArray[np.uint8],
    boxes: npt.NDArray[np.float32],
    sizes: npt.ArrayLike | Sequence[tuple[int, int]],
    threads: int = 0,
) -> list[bytes]:
    """COCO compressed RLE of every mask pasted into its box: what pycocotools writes, byte for byte.

    Args:
        masks: [N,M,M] uint8, probability x 255; M up to `MAX_SIDE`.
        boxes: [N,4] float32 xyxy, px of the original image; one without area gives the empty mask.
        sizes: (height, width) of the original image, or one a mask as [N,2].
        threads: at most; 0 lets the library choose.

    Returns:
        N texts, in order.

    Raises:
        HostLibraryError: the library is missing, or a shape or size is wrong.

    Ref: docs/architecture.md, "Masks at the original size".
    """
    masks = library.as_array(masks, np.uint8, "masks", (None, None, None))
    number, side, _ = masks.shape
    library.as_array(masks, np.uint8, "masks", (number, side, side))
    boxes = library.as_array(boxes, np.float32, "boxes", (number, 4))
    all_sizes = library.as_array(np.broadcast_to(np.asarray(sizes), (number, 2)), np.int32, "sizes", (number, 2))
    offsets = np.empty(number + 1, np.int64)
    text = np.empty(number * _GUESS_BYTES, np.uint8)
    for _ in range(2):
        library.check(
            library.load().maskline_host_encode_masks(
                library.pointer(masks),
                library.pointer(boxes),
                library.pointer(all_sizes),
                ctypes.c_int64(number),
                ctypes.c_int32(side),
                ctypes.c_int32(threads),
                library.pointer(text),
                ctypes.c_int64(len(text)),
                library.pointer(offsets),
            )
        )
        if offsets[-1] <= len(text):
            break
        text = np.empty(offsets[-1], np.uint8)
    joined, ends = text[: offsets[-1]].tobytes(), offsets.tolist()
    return [joined[ends[i] : ends[i + 1]] for i in range(number)]
