"""The size a picture gets for the network, and the filters that Pillow does not have: numpy alone.

One file for the server and for training, whose `maskline_train/data/resizing.py` is a link to it. Where the repository
carries libmaskline_host.so, that resizes, to the same bytes. Sizes are (height, width), pixels.

Letters: H W a picture, h w the size it is brought to.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Size = tuple[int, int]
UInt8 = npt.NDArray[np.uint8]
SizeRule = Literal["round", "floor", "detectron2", "maskrcnn_benchmark", "detectron"]
SIZE_RULES: tuple[SizeRule, ...] = ("round", "floor", "detectron2", "maskrcnn_benchmark", "detectron")

_CV2_ONE = 2048  # OpenCV's weights are whole numbers of 1/2048
_STRIP_ROWS = 64  # rows that are resized at a time: what is held meanwhile stays small


class Taps(NamedTuple):
    """Which two pixels each pixel of the result lies between, along one axis of n pixels, and their weights.

    Attributes:
        first, second: [n] int64, indices into the picture.
        weights: two arrays [n]: float32 that add up to 1 (`torch`), or int32 of 1/2048 (`cv2`).
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    weights: tuple[npt.NDArray[Any], npt.NDArray[Any]]


def scaled_size(size: Size, shorter_side_px: int, longer_side_px: int, rule: SizeRule) -> Size:
    """The size with a shorter side of `shorter_side_px`, or a longer one of `longer_side_px` if that is smaller.

    Args:
        size: of the picture.
        shorter_side_px: wanted.
        longer_side_px: at most.
        rule: how sides become whole numbers, all in float64, at least 1. `round`: both times one scale, halves up
            (mmdetection's `Resize`). `floor`: both times one scale, cut off, so that 799.9999 becomes 799
            (torchvision's `GeneralizedRCNNTransform`). `detectron2`: scaled to the shorter side, then once more where
            the longer one is too long, halves up (its `ResizeShortestEdge`). `maskrcnn_benchmark`: `_shorter_first`.
            `detectron`: `_rounded_to_even`.
    """
    if rule == "maskrcnn_benchmark":
        return _shorter_first(size, shorter_side_px, longer_side_px)
    if rule == "detectron":
        return _rounded_to_even(size, shorter_side_px, longer_side_px)
    if rule == "detectron2":
        height, width = _in_two_steps(size, shorter_side_px, longer_side_px)
    else:
        scale = min(shorter_side_px / min(size), longer_side_px / max(size))
        height, width = size[0] * scale, size[1] * scale
    half = 0.0 if rule == "floor" else 0.5
    return max(1, math.floor(height + half)), max(1, math.floor(width + half))


def _in_two_steps(size: Size, shorter_side_px: int, longer_side_px: int) -> tuple[float, float]:
    """Both sides before they are rounded, multiplied in the order in which detectron2 does it."""
    scale = shorter_side_px / min(size)
    if size[0] < size[1]:
        height, width = float(shorter_side_px), scale * size[1]
    else:
        height, width = scale * size[0], float(shorter_side_px)
    if max(height, width) > longer_side_px:
        again = longer_side_px / max(height, width)
        height, width = height * again, width * again
    return height, width


def _shorter_first(size: Size, shorter_side_px: int, longer_side_px: int) -> Size:
    """The shorter side as a whole number, then the longer one by their ratio, cut off.

    The shorter one is rounded, halves to even, where the longer one would be too long, which it may be by some pixels
    afterwards. Ref: maskrcnn_benchmark/data/transforms/transforms.py (`Resize.get_size`), which fails where the
    shorter one would be of no pixel: here it has one, and the longer one all that it may have.
    """
    shorter, longer = min(size), max(size)
    if longer / shorter * shorter_side_px > longer_side_px:
        shorter_side_px = round(longer_side_px * shorter / longer)
    sides = (1, longer_side_px) if shorter_side_px == 0 else (shorter_side_px, int(shorter_side_px * longer / shorter))
    return sides if size[0] <= size[1] else (sides[1], sides[0])


def _rounded_to_even(size: Size, shorter_side_px: int, longer_side_px: int) -> Size:
    """Both sides times one scale, halves to even: the shorter side's, unless the longer one, rounded, is too long.

    Ref: detectron/utils/blob.py (`get_target_scale`), and OpenCV's `resize` by a scale, which rounds so.
    """
    scale = shorter_side_px / min(size)
    if round(scale * max(size)) > longer_side_px:
        scale = longer_side_px / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize_as_torch(image: UInt8, size: Size) -> UInt8:
    """A picture as `torch.nn.functional.interpolate` resizes its floats, rounded to whole numbers, halves to even.

    Bilinear between pixel centres, not antialiased; the arithmetic is float32. An index is rounded once, as where
    PyTorch multiplies and adds in one instruction: with AVX2, with AVX-512 and on GPUs.

    Args:
        image: [H,W,3] uint8.
        size: h, w, at least 1 x 1.

    Returns:
        [h,w,3] uint8.
    """
    down, across = (_torch_taps(length, wanted) for length, wanted in zip(image.shape, size, strict=False))
    out = np.empty((*size, 3), np.uint8)
    for rows in _strips(size[0]):
        upper, lower = _two_lines(image, down, across, rows, np.float32)
        above, below = (weight[rows, None, None] for weight in down.weights)
        out[rows] = np.rint(upper * above + lower * below)
    return out


def resize_as_cv2(image: UInt8, size: Size) -> UInt8:
    """A picture as OpenCV's `resize` with INTER_LINEAR makes it of uint8, byte for byte.

    Bilinear between pixel centres, not antialiased, in whole numbers: weights of 1/2048, rounded halves to even, and
    four bits dropped after the rows, sixteen after each weight of the columns. Exactly half the size is the mean of
    four pixels. Ref: OpenCV, modules/imgproc/src/resize.cpp.

    Args:
        image: [H,W,3] uint8.
        size: h, w, at least 1 x 1.

    Returns:
        [h,w,3] uint8.
    """
    if image.shape[:2] == (2 * size[0], 2 * size[1]):
        return _means_of_four(image)
    down, across = _cv2_taps(image.shape[0], size[0], False), _cv2_taps(image.shape[1], size[1], True)
    out = np.empty((*size, 3), np.uint8)
    for rows in _strips(size[0]):
        upper, lower = (lines >> 4 for lines in _two_lines(image, down, across, rows, np.int32))
        above, below = (weight[rows, None, None] for weight in down.weights)
        out[rows] = ((upper * above >> 16) + (lower * below >> 16) + 2) >> 2
    return out


def _torch_taps(length: int, wanted: int) -> Taps:
    """PyTorch's: a scale in float32, and no pixel before the first."""
    scale = np.float64(np.float32(length) / np.float32(wanted))
    places = (scale * (np.arange(wanted) + 0.5) - 0.5).astype(np.float32)  # float64 holds the product exactly
    places = np.maximum(places, np.float32(0))
    first = np.minimum(places.astype(np.int64), length - 1)
    share = places - first.astype(np.float32)
    return Taps(first, np.minimum(first + 1, length - 1), (np.float32(1) - share, share))


def _cv2_taps(length: int, wanted: int, to_the_edge: bool) -> Taps:
    """OpenCV's. Beyond the outermost centres the edge's pixel has the whole weight; of rows both fall on it."""
    scale = 1.0 / (wanted / length)
    places = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = places - first.astype(np.float32)
    if to_the_edge:
        share[(first < 0) | (first >= length - 1)] = 0
        first = np.clip(first, 0, length - 1)
    near, far = (np.rint(part * np.float32(_CV2_ONE)).astype(np.int32) for part in (np.float32(1) - share, share))
    return Taps(np.clip(first, 0, length - 1), np.clip(first + 1, 0, length - 1), (near, far))


def _strips(height: int) -> list[slice]:
    return [slice(top, min(top + _STRIP_ROWS, height)) for top in range(0, height, _STRIP_ROWS)]


def _two_lines(
    image: UInt8, down: Taps, across: Taps, rows: slice, dtype: npt.DTypeLike
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The lines of the picture above and below some rows of the result, of its width, weighted: [rows,w,3] each."""
    lines, where = np.unique(np.concatenate([down.first[rows], down.second[rows]]), return_inverse=True)
    needed = image[lines]
    left, right = (
        np.multiply(np.take(needed, places, axis=1), weights[:, None], dtype=dtype)
        for places, weights in zip((across.first, across.second), across.weights, strict=True)
    )
    left += right
    half = rows.stop - rows.start
    return left[where[:half]], left[where[half:]]


def _means_of_four(image: UInt8) -> UInt8:
    """Half the size: sums of 2 x 2 pixels over 4, halves up."""
    lines = image[0::2].astype(np.uint16) + image[1::2]
    means: UInt8 = ((lines[:, 0::2] + lines[:, 1::2] + 2) >> 2).astype(np.uint8)
    return means
