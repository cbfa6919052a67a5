"""Features of boxes from a pyramid, computed on the host by `libmaskline_host.so`.

Letters: B images, L levels, R boxes an image, C channels, Hi Wi level i, P pooled side, S sampling points a bin.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import library

MODES = ("align_avg", "align_max", "pool", "warp")
MAX_LEVELS = 8
_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}


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
        HostLibraryError: too many strides, or an unknown mode.
    """
    if len(strides) > MAX_LEVELS:
        raise library.HostLibraryError(f"strides: got {len(strides)}, expected at most {MAX_LEVELS}")
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
    attributes = make_attributes(strides, canonical_size, canonical_level, pooled_side, sampling_ratio, aligned, mode)
    if len(features) != len(strides):
        raise library.HostLibraryError(f"features: got {len(features)} levels, expected {len(strides)}, one a stride")
    boxes = library.as_array(boxes, np.float32, "boxes", (None, None, 4))
    images, count, _ = boxes.shape
    dtype = np.asarray(features[0]).dtype
    if dtype not in _TYPES:
        raise library.HostLibraryError(f"features: got {dtype}, expected float32 or float16")
    channels = np.asarray(features[0]).shape[1] if np.ndim(features[0]) == 4 else None
    maps = [
        library.as_array(feature, dtype, f"feature {index}", (images, channels, None, None))
        for index, feature in enumerate(features)
    ]
    heights, widths = ([array.shape[axis] for array in maps] for axis in (2, 3))
    shape = Shape(
        _TYPES[dtype],
        0,
        images,
        count,
        maps[0].shape[1],
        (ctypes.c_int32 * MAX_LEVELS)(*heights),
        (ctypes.c_int32 * MAX_LEVELS)(*widths),
    )
    wanted = (images * count, maps[0].shape[1], pooled_side, pooled_side)
    pooled = np.empty(wanted, dtype) if out is None else out
    if pooled.shape != wanted or pooled.dtype != dtype:
        raise library.HostLibraryError(f"out: got {pooled.dtype} {list(pooled.shape)}, expected {dtype} {list(wanted)}")
    config = Config(attributes=attributes, shape=shape)
    library.check(
        library.load().maskline_host_multiscale_roi_align(
            ctypes.byref(config),
            (ctypes.c_void_p * len(maps))(*(array.ctypes.data for array in maps)),
            library.pointer(boxes),
            library.pointer(pooled),
            ctypes.c_int(threads),
        )
    )
    return pooled
