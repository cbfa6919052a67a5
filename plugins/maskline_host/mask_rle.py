"""COCO run-length encoding of masks in their boxes, without a pasted mask ever being made.

Letters: N masks, B images, D detections an image, M mask side.
Ref: docs/architecture.md, "Masks at the original size"; plugins/mask_rle/README.md.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import library

MAX_SIDE = 63  # the largest M
MASK_TYPES = ("float32", "float16", "bfloat16")  # the kernel takes them all, the host float32 alone
PASTE_RULES = ("aligned", "detectron")  # docs/architecture.md, "Masks at the original size"
# First guess of a text: an object without holes has two counts a column, mostly of one character each.
_GUESS_BYTES, _GUESS_BYTES_A_COLUMN = 256, 2


def encode(
    masks: npt.NDArray[np.float32],
    boxes: npt.ArrayLike,
    sizes: npt.ArrayLike,
    threads: int = 0,
    paste: str = "aligned",
) -> list[bytes]:
    """COCO compressed RLE of every mask pasted into its box: what pycocotools writes, byte for byte.

    Args:
        masks: [N,M,M] float32, probabilities, clipped to 0..1 (NaN is 0); M up to `MAX_SIDE`.
        boxes: [N,4] float32 xyxy, px of the original image; one without area gives the empty mask.
        sizes: (height, width) of the original image, or one a mask as [N,2].
        threads: at most, as many as pay for themselves; 0: as many as the process may use.
        paste: one of `PASTE_RULES`.

    Returns:
        N texts, in order.

    Raises:
        HostLibraryError: the library is missing, or a type, shape or size is wrong.
    """
    masks = _as_masks(masks, rank=3)
    number, side, _ = masks.shape
    places = library.as_array(boxes, np.float32, "boxes", (number, 4))
    given_sizes = np.asarray(sizes, np.int32)
    all_sizes = np.empty((number, 2), np.int32)
    all_sizes[:] = given_sizes if given_sizes.shape == (2,) else library.as_array(sizes, np.int32, "sizes", (number, 2))
    offsets = np.zeros(number + 1, np.int64)
    widest = int(all_sizes[:, 1].max(initial=0))
    text = np.empty(number * (_GUESS_BYTES + _GUESS_BYTES_A_COLUMN * max(widest, 0)), np.uint8)
    for _ in range(2):  # the second time with room enough
        library.check(
            library.load().maskline_host_encode_masks(
                library.pointer(masks),
                library.pointer(places),
                library.pointer(all_sizes),
                ctypes.c_int64(number),
                ctypes.c_int32(side),
                ctypes.c_int32(_index(paste)),
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


class Config(library.Config):
    """`MasklineMaskRLE` of plugins/mask_rle/c_config.h."""

    _fields_ = (
        ("batch", ctypes.c_int32),
        ("detections", ctypes.c_int32),
        ("side", ctypes.c_int32),
        ("max_counts", ctypes.c_int32),
        ("paste", ctypes.c_int32),
        ("mask_type", ctypes.c_int32),
    )


def config_of(
    batch: int, detections: int, side: int, max_counts: int, mask_type: str, paste: str = "aligned"
) -> Config:
    """The C struct of a call; `mask_type` is one of `MASK_TYPES`, `paste` of `PASTE_RULES`."""
    return Config(
        batch=batch,
        detections=detections,
        side=side,
        max_counts=max_counts,
        paste=_index(paste),
        mask_type=MASK_TYPES.index(mask_type),
    )


class RunLengths(NamedTuple):
    """What the op MaskRLE answers.

    Attributes:
        counts: [B,D,max_counts] int32, run lengths in column-major order, zeros first; 0 past their number.
        num_counts: [B,D] int32, how many; 0 for a row past `num_detections`, and the negative of the number needed
            (with all counts 0) when they do not fit.
        image_boxes: [B,D,4] float32 xyxy, px of the original image; 0 past `num_detections`.
    """

    counts: npt.NDArray[np.int32]
    num_counts: npt.NDArray[np.int32]
    image_boxes: npt.NDArray[np.float32]


def mask_rle(
    masks: npt.NDArray[np.float32],
    boxes: npt.ArrayLike,
    num_detections: npt.ArrayLike,
    image_info: npt.ArrayLike,
    max_counts: int = 4096,
    threads: int = 0,
    paste: str = "aligned",
) -> RunLengths:
    """The op MaskRLE, as the plugin does it.

    Args:
        masks: [B,D,M,M] float32, as of `encode`.
        boxes: [B,D,4] float32 xyxy, px of the canvas.
        num_detections: [B,1] int32.
        image_info: [B,6] float32, resized_h, resized_w, scale_y, scale_x, original_h, original_w.
        max_counts: capacity of a mask.
        threads: at most; 0: as many as the process may use.
        paste: one of `PASTE_RULES`.

    Raises:
        HostLibraryError: the library is missing, or a type, shape or attribute is wrong.
    """
    masks = _as_masks(masks, rank=4)
    images, detections, side, _ = masks.shape
    given = (
        masks,
        library.as_array(boxes, np.float32, "boxes", (images, detections, 4)),
        library.as_array(num_detections, np.int32, "num_detections", (images, 1)),
        library.as_array(image_info, np.float32, "image_info", (images, 6)),
    )
    found = RunLengths(
        np.empty((images, detections, max(max_counts, 0)), np.int32),
        np.empty((images, detections), np.int32),
        np.empty((images, detections, 4), np.float32),
    )
    config = config_of(images, detections, side, max_counts, "float32", paste)
    library.check(
        library.load().maskline_host_mask_rle(
            ctypes.byref(config),
            *(library.pointer(array) for array in (*given, *found)),
            ctypes.c_int(threads),
        )
    )
    return found


def _index(paste: str) -> int:
    if paste not in PASTE_RULES:
        raise library.HostLibraryError(f"paste: got {paste!r}, expected one of {', '.join(PASTE_RULES)}")
    return PASTE_RULES.index(paste)


def _as_masks(masks: npt.NDArray[Any], rank: int) -> npt.NDArray[np.float32]:
    """`masks` in C order; a cast would silently take whole numbers of 255 for probabilities."""
    if masks.dtype != np.float32:
        raise library.HostLibraryError(f"masks: got {masks.dtype}, expected float32, probabilities 0 to 1")
    side = masks.shape[-1] if masks.ndim else 0
    return library.as_array(masks, np.float32, "masks", (*[None] * (rank - 2), side, side))
