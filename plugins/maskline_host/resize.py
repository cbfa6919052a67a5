"""Pictures resized as OpenCV or PyTorch resize them, on a machine that has neither, or as Pillow does, in less time.

Letters: H W a picture, h w the size it is brought to.
Ref: docs/architecture.md, "Preprocessing", step 2; plugins/resize/README.md.
"""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from . import library

FILTERS = ("cv2", "torch", "pillow")


class Config(library.Config):
    """`MasklineResize` of plugins/resize/c_config.h."""

    _fields_ = (
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("resized_height", ctypes.c_int32),
        ("resized_width", ctypes.c_int32),
        ("filter", ctypes.c_int32),
    )


def resize(
    image: npt.NDArray[np.uint8], size: tuple[int, int], resize_filter: str, threads: int = 0
) -> npt.NDArray[np.uint8]:
    """A picture by a bilinear filter, antialiased by `pillow` alone.

    Args:
        image: [H,W,3] uint8, at least 1 x 1.
        size: h, w, at least 1 x 1.
        resize_filter: `cv2`, OpenCV's INTER_LINEAR on uint8, byte for byte; `torch`, PyTorch's on float32, rounded to
            whole numbers, halves to even; `pillow`, Pillow's BILINEAR, byte for byte, where h is H or more.
        threads: at most, as many as pay for themselves; 0: as many as the process may use.

    Returns:
        [h,w,3] uint8.

    Raises:
        HostLibraryError: the library is missing, or the filter, the type, a shape or a size is wrong.
    """
    if resize_filter not in FILTERS:
        raise library.HostLibraryError(f"filter: got {resize_filter!r}, expected one of {', '.join(FILTERS)}")
    if image.dtype != np.uint8:
        raise library.HostLibraryError(f"image: got {image.dtype}, expected uint8")
    pixels = library.as_array(image, np.uint8, "image", (None, None, 3))
    resized = np.empty((max(size[0], 0), max(size[1], 0), 3), np.uint8)
    config = Config(
        height=pixels.shape[0],
        width=pixels.shape[1],
        resized_height=size[0],
        resized_width=size[1],
        filter=FILTERS.index(resize_filter),
    )
    library.check(
        library.load().maskline_host_resize(
            ctypes.byref(config), library.pointer(pixels), library.pointer(resized), ctypes.c_int(threads)
        )
    )
    return resized
