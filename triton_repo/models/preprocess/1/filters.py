"""Chooses what resizes pictures: Pillow, or, for its filters, libmaskline_host.so where the repository carries it.

Without the library numpy resizes, to the same bytes. `maskline-serve assemble` puts library and binding,
`maskline_host`, beside this file where the network's filter is not Pillow's.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from . import resizing

Resizer = Callable[[Image.Image, resizing.Size], resizing.UInt8]  # an RGB picture, (height, width) -> [height,width,3]
FILTERS = ("pillow", "cv2", "torch")


def by_pillow(image: Image.Image, size: resizing.Size) -> resizing.UInt8:
    """Pillow's bilinear filter, antialiased."""
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def by_numpy(image: Image.Image, size: resizing.Size, resize_filter: str) -> resizing.UInt8:
    """The filter `cv2` or `torch`."""
    resize = resizing.resize_as_cv2 if resize_filter == "cv2" else resizing.resize_as_torch
    return resize(np.asarray(image), size)


def by_library(image: Image.Image, size: resizing.Size, resize_filter: str, threads: int) -> resizing.UInt8:
    """The same, by libmaskline_host.so."""
    from .maskline_host.resize import resize

    return resize(np.asarray(image), size, resize_filter, threads)


def choose(resize_filter: str, threads: int = 0) -> tuple[Resizer, str]:
    """What resizes by a filter, and one line for the log that says which it is.

    Args:
        resize_filter: one of FILTERS.
        threads: of the library, at most; 0: as many as the process may use.

    Raises:
        ValueError: there is no filter of that name.
    """
    if resize_filter not in FILTERS:
        raise ValueError(f"resize_filter: got {resize_filter!r}, expected one of {', '.join(FILTERS)}")
    if resize_filter == "pillow":
        return by_pillow, "Pillow resizes pictures"
    slower = functools.partial(by_numpy, resize_filter=resize_filter)
    try:
        from .maskline_host import library
    except ImportError:
        return slower, _slower("this repository holds no libmaskline_host.so for it")
    os.environ.pop(library.VARIABLE, None)  # the repository's own file, whose hash it lists, and no other
    try:
        library.load()
    except library.HostLibraryError as error:
        return slower, _slower(str(error))
    return functools.partial(
        by_library, resize_filter=resize_filter, threads=threads
    ), "libmaskline_host.so resizes pictures"


def _slower(reason: str) -> str:
    return f"numpy resizes pictures, some 8 times slower than libmaskline_host.so: {reason}"
