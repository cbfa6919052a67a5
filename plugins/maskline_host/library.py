"""Finds and loads `libmaskline_host.so`, heads its config structs, and turns its error codes into exceptions."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

FILE = "libmaskline_host.so"
CUSTOM_OPS_FILE = "libmaskline_ort.so"
BACKEND_FILE = "libtriton_onnxruntime.so"
CUDA_FILE = "libmaskline_cuda.so"
VARIABLE = "MASKLINE_HOST_LIBRARY"
INTERFACE = 20261128  # kINTERFACE of plugins/common/c_head.h
_HERE = Path(__file__).resolve().parent
# Beside this package in a wheel or a model repository; where `make plugins` builds it in a checkout.
_PLACES = (_HERE / FILE, _HERE.parents[1] / "build" / "plugins" / FILE)


class HostLibraryError(Exception):
    """The library is missing, of another build, or refused its arguments."""


class Config(ctypes.Structure):
    """What a config struct begins with, `MasklineHead` of plugins/common/c_head.h; an op's fields follow."""

    _fields_: ClassVar[Sequence[tuple[str, Any]]] = (("interface", ctypes.c_int32), ("bytes", ctypes.c_int32))

    def __init__(self, **fields: Any) -> None:
        """Fill in the head and the op's fields."""
        super().__init__(INTERFACE, ctypes.sizeof(self), **fields)


def library_path() -> Path | None:
    """Where the library is: what $MASKLINE_HOST_LIBRARY says, beside this package, or in the checkout's build folder.

    Returns:
        None when it is in none of these places.

    Raises:
        HostLibraryError: the variable is set and names no file.
    """
    named = os.environ.get(VARIABLE)
    if named is None:
        return next((place for place in _PLACES if place.is_file()), None)
    if not Path(named).is_file():
        raise HostLibraryError(f"${VARIABLE}: got {named}, expected a file; unset it or build one by `make plugins`")
    return Path(named)


def installed_path(file: str) -> Path | None:
    """One of the libraries that a wheel for this platform puts beside this package, by its file name.

    Returns:
        None where it is not: in a pure wheel, and in a checkout, which builds them elsewhere.
    """
    place = _HERE / file
    return place if place.is_file() else None


def custom_ops_path() -> Path | None:
    """Where the same ops are as custom ops of ONNX Runtime (`register_custom_ops_library`): beside the library.

    Returns:
        None where they are not: `make plugins` builds them where it finds ONNX Runtime's headers.

    Raises:
        HostLibraryError: as `library_path`.
    """
    return _beside(CUSTOM_OPS_FILE)


def backend_path() -> Path | None:
    """Where Triton's `onnxruntime` backend is, which runs in the server's process: beside the library.

    Returns:
        None where it is not, as `custom_ops_path`.

    Raises:
        HostLibraryError: as `library_path`.
    """
    return _beside(BACKEND_FILE)


def cuda_path() -> Path | None:
    """Where the ops on device memory are, which training calls: beside the library.

    Returns:
        None where they are not: a build without CUDA, or our wheel.

    Raises:
        HostLibraryError: as `library_path`.
    """
    return _beside(CUDA_FILE)


def _beside(file: str) -> Path | None:
    """A file beside the library, if both are there."""
    library = library_path()
    beside = None if library is None else library.with_name(file)
    return beside if beside is not None and beside.is_file() else None


@functools.cache
def load() -> ctypes.CDLL:
    """The library, loaded once a process.

    Raises:
        HostLibraryError: it is not there, cannot be loaded or is of another build than this package.
    """
    path = library_path()
    if path is None:
        raise HostLibraryError(
            f"{FILE}: not found; install the wheel for Linux, build it by `make plugins` or name it in ${VARIABLE}"
        )
    return open_library(path)


def open_library(path: Path) -> ctypes.CDLL:
    """A library of ops, this one or that of the kernels, whose C interface is the one that this package calls.

    Raises:
        HostLibraryError: it cannot be loaded or has another interface.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise HostLibraryError(
            f"{path}: cannot be loaded ({error}); build it on this machine by `make plugins`"
        ) from error
    # Libraries of before the number say nothing. Their functions of the same names would take our arguments for others.
    got = library.maskline_interface() if hasattr(library, "maskline_interface") else "none"
    if got != INTERFACE:
        raise HostLibraryError(f"{path}: got C interface {got}, expected {INTERFACE}; build it anew by `make plugins`")
    library.maskline_last_error.restype = ctypes.c_char_p
    return library


def check(status: int) -> None:
    """Raise what the library says of its last call in this thread, unless `status` is 0.

    Raises:
        HostLibraryError: with the library's text.
    """
    if status != 0:
        raise HostLibraryError(load().maskline_last_error().decode())


def limit_simd(most: int) -> int:
    """Allow vector instructions up to `most` (0 generic, 1 AVX-512); returns what is used from now on."""
    return int(load().maskline_host_limit_simd(ctypes.c_int(most)))


def pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    """Address of a C-contiguous array's first element; the caller keeps the array alive.

    Raises:
        HostLibraryError: the array is not C-contiguous, so that a copy would be passed without anyone noticing.
    """
    if not array.flags.c_contiguous:
        raise HostLibraryError(f"array of shape {array.shape}: got strides {array.strides}, expected C order")
    return ctypes.c_void_p(array.__array_interface__["data"][0])  # in half the time of array.ctypes.data


def as_array(values: npt.ArrayLike, dtype: npt.DTypeLike, name: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """`values` as a C-contiguous array of one dtype; copies only where it must.

    Args:
        values: anything numpy takes.
        dtype: of the result.
        name: for the error text.
        shape: expected lengths; None is any length.

    Raises:
        HostLibraryError: another rank or length.
    """
    array = np.ascontiguousarray(values, dtype)
    check_shape(array.shape, name, shape)
    return array


def check_shape(got: tuple[int, ...], name: str, expected: tuple[int | None, ...]) -> None:
    """Raise unless an array has these lengths; None is any length.

    Raises:
        HostLibraryError: another rank or length.
    """
    fits = len(got) == len(expected) and all(want in (None, found) for want, found in zip(expected, got, strict=True))
    if not fits:
        lengths = ",".join("any" if length is None else str(length) for length in expected)
        raise HostLibraryError(f"{name}: got shape {list(got)}, expected [{lengths}]")
