"""Features of boxes from a pyramid, computed on the host by `libmaskline_host.so`.

Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import library

MODES = ("align_avg", "align_max", "pool", "warp")
MAX_LEVELS = 8
FEATURE_TYPES = ("float32", "float16", "bfloat16")  # the kernels take them all, the host has no bfloat16


class Attributes(ctypes.Structure):
    """`RoIAlignAttributes` of plugins/roi_align/attributes.h."""

    _fields_ = [
        ("num_levels", ctypes.c_int32),
        ("strides", ctypes.c_int32 * MAX_LEVELS),
        ("canonical_size", ctypes.c_float),
        ("canonical_level", ctypes.c_int32),
        ("pooled_side", ctypes.c_int32),
        ("sampling_ratio", ctypes.c_int32),
        ("aligned", ctypes.c_int32),
        ("mode", ctypes.c_int32),
    ]


class Shape(ctypes.Structure):
    """`RoIAlignShape` of plugins/roi_align/attributes.h."""

    _fields_ = [
        ("type", ctypes.c_int32),  # 0 float32, 1 float16, 2 bfloat16
        ("layout", ctypes.c_int32),  # 0 NCHW, 1 kHWC8
        ("images", ctypes.c_int32),
        ("boxes", ctypes.c_int32),
        ("channels", ctypes.c_int32),
        ("heights", ctypes.c_int32 * MAX_LEVELS),
        ("widths", ctypes.c_int32 * MAX_LEVELS),
    ]


class Config(library.Config):
    """`MasklineMultiscaleRoIAlign` of plugins/roi_align/c_config.h."""

    _fields_ = (("attributes", Attributes), ("shape", Shape))


class BackwardConfig(library.Config):
    """`MasklineMultiscaleRoIAlignBackward` of plugins/roi_align/c_config.h; only libraries of kernels take it."""

    _fields_ = (("attributes", Attributes), ("shape", Shape), ("deterministic", ctypes.c_int32))


class MaskTargetsConfig(library.Config):
    """`MasklineMaskTargets` of plugins/roi_align/c_config.h; only libraries of kernels take it."""

    _fields_ = (
        ("pixels", ctypes.c_int64),
        ("rows", ctypes.c_int32),
        ("side", ctypes.c_int32),
        ("aligned", ctypes.c_int32),
    )


def make_attributes(
    strides: Sequence[int],
    canonical_size: float,
    canonical_level: int,
    pooled_side: int,
    sampling_ratio: int,
    aligned: bool,
    mode: str,
) -> Attributes:
    """Attributes as the libraries take them; the libraries check the values.

    Raises:
        HostLibraryError: none or too many strides, or an unknown mode.
    """
    if not 1 <= len(strides) <= MAX_LEVELS:
        raise library.HostLibraryError(f"strides: got {len(strides)}, expected 1 to {MAX_LEVELS}")
    if mode not in MODES:
        raise library.HostLibraryError(f"mode: got {mode!r}, expected one of {', '.join(MODES)}")
    padded = (ctypes.c_int32 * MAX_LEVELS)(*strides)
    return Attributes(
        len(strides),
        padded,
        canonical_size,
        canonical_level,
        pooled_side,
        sampling_ratio,
        int(aligned),
        MODES.index(mode),
    )


def make_shape(
    feature_type: str, channels_last: bool, images: int, boxes: int, channels: int, cells: Sequence[tuple[int, int]]
) -> Shape:
    """Sizes of a call as the libraries take them; the libraries check the values.

    Args:
        feature_type: one of `FEATURE_TYPES`.
        channels_last: features lie as kHWC8.
        images: B.
        boxes: R, of an image or of all of them, as the call has it.
        channels: C.
        cells: (Hi, Wi) of each level, `MAX_LEVELS` at most.
    """
    heights, widths = ((ctypes.c_int32 * MAX_LEVELS)(*axis) for axis in zip(*cells, strict=True))
    code = FEATURE_TYPES.index(feature_type)
    return Shape(code, int(channels_last), images, boxes, channels, heights, widths)


def multiscale_roi_align(
    features: Sequence[npt.NDArray[Any]],
    boxes: npt.NDArray[np.float32],
    *,
    strides: Sequence[int],
    canonical_size: float = 224.0,
    canonical_level: int = 4,
    pooled_side: int,
    sampling_ratio: int = 2,
    aligned: bool = True,
    mode: str = "align_avg",
    threads: int = 0,
    out: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    """Features of boxes, each box read from the pyramid level of its size: [B*R,C,P,P], dtype of the features.

    Args:
        features: L arrays [B,C,Hi,Wi], all float32 or all float16.
        boxes: [B,R,4] float32 xyxy, canvas px.
        strides: px a cell of each level; powers of two, each twice the one before; 8 at most.
        canonical_size: px; a box of this side is read from `canonical_level`.
        canonical_level: level numbers as log2 of the stride: stride 4 is level 2.
        pooled_side: P, 1 to 64.
        sampling_ratio: S, 1 to 16; 0: ceil(bin side), another for each box and axis. Not used by `pool`.
        aligned: half-pixel shift; False: no shift and a side of at least one cell. Not used by `pool`.
        mode: `align_avg`; `align_max` (interpolate, then maximum); `pool` (RoIPool); `warp` (RoIWarp).
        threads: at most; 0 lets the library choose.
        out: where to write, [B*R,C,P,P] in C order; a buffer that is used again spares the system new pages each time.

    Returns:
        In the order of the boxes; zeros for a box without area or with a coordinate that is not finite. `out` if given.

    Raises:
        HostLibraryError: the library is missing, or an attribute, shape or dtype is wrong.

    Ref: Mask R-CNN, section 3; plugins/roi_align/README.md.
    """
    boxes = np.ascontiguousarray(boxes, np.float32)
    dtype = np.asarray(features[0]).dtype if features else np.dtype(np.float32)
    maps = [np.ascontiguousarray(feature, dtype) for feature in features]
    attributes = (tuple(strides), canonical_size, canonical_level, pooled_side, sampling_ratio, aligned, mode)
    memory = [array.__array_interface__ for array in maps]
    config, wanted = _described(attributes, dtype, boxes.shape, tuple([each["shape"] for each in memory]))
    pooled = np.empty(wanted, dtype) if out is None else out
    if pooled.shape != wanted or pooled.dtype != dtype:
        raise library.HostLibraryError(f"out: got {pooled.dtype} {list(pooled.shape)}, expected {dtype} {list(wanted)}")
    library.check(
        library.load().maskline_host_multiscale_roi_align(
            ctypes.byref(config),
            (ctypes.c_void_p * len(maps))(*[each["data"][0] for each in memory]),
            library.pointer(boxes),
            library.pointer(pooled),
            ctypes.c_int(threads),
        )
    )
    return pooled


@functools.lru_cache(maxsize=64)
def _described(
    attributes: tuple[tuple[int, ...], float, int, int, int, bool, str],
    dtype: np.dtype[Any],
    boxes: tuple[int, ...],
    maps: tuple[tuple[int, ...], ...],
) -> tuple[Config, tuple[int, ...]]:
    """What a call's arguments come to, and the shape of the result; kept, because calls of one network are alike.

    To check them again each time takes 0.1 ms of the 3 that 100 boxes do: between two calls Python's own data fall out
    of the caches.

    Args:
        attributes: of `make_attributes`.
        dtype: of the features.
        boxes: their shape.
        maps: shape of each level's features.

    Raises:
        HostLibraryError: as `multiscale_roi_align`.
    """
    if dtype not in (np.float32, np.float16):
        raise library.HostLibraryError(f"features: got {dtype}, expected float32 or float16")
    described = make_attributes(*attributes)
    if len(maps) != described.num_levels:
        raise library.HostLibraryError(
            f"features: got {len(maps)} levels, expected {described.num_levels}, one a stride"
        )
    library.check_shape(boxes, "boxes", (None, None, 4))
    images, count, _ = boxes
    channels = maps[0][1] if len(maps[0]) == 4 else None
    for index, shape in enumerate(maps):
        library.check_shape(shape, f"feature {index}", (images, channels, None, None))
    cells = [(shape[2], shape[3]) for shape in maps]
    described_shape = make_shape(dtype.name, False, images, count, maps[0][1], cells)
    config = Config(attributes=described, shape=described_shape)
    side = max(described.pooled_side, 0)  # the library says what is wrong with one below
    return config, (images * count, maps[0][1], side, side)
