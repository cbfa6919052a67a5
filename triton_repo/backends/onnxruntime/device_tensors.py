"""Where a tensor lies: on the host or on a GPU, read from DLPack and handed on by it, without a copy.

Ref: https://github.com/dmlc/dlpack, dlpack.h: DLManagedTensor. ONNX Runtime's own OrtValue speaks DLPack too, but has
no view of some rows of a tensor, which the answer of one request in a batch is; the structure is small, so it is here.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

HOST = -1  # as the number of a card
_CPU, _CUDA, _CUDA_HOST = 1, 2, 3  # DLDeviceType
_KINDS = {"i": 0, "u": 1, "f": 2}  # DLDataTypeCode, by numpy's letters
_LETTERS = {code: letter for letter, code in _KINDS.items()}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A dense tensor somewhere; whoever holds this holds its memory.

    Attributes:
        address: of its first byte.
        shape: batch first.
        dtype: of numpy.
        card: number of the GPU, or HOST.
        owner: what keeps the memory.
    """

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    card: int
    owner: object

    @property
    def size_bytes(self) -> int:
        """Of all its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, start: int, stop: int) -> Tensor:
        """Some images of it."""
        row_bytes = self.size_bytes // max(self.shape[0], 1)
        shape = (stop - start, *self.shape[1:])
        return dataclasses.replace(self, address=self.address + start * row_bytes, shape=shape)


def of_array(array: npt.NDArray[Any]) -> Tensor:
    """An array of the host; copied if it has gaps."""
    array = np.ascontiguousarray(array)
    return Tensor(array.ctypes.data, array.shape, array.dtype, HOST, array)


def array_of(tensor: Tensor) -> npt.NDArray[Any]:
    """A copy of a tensor that lies on the host."""
    array = np.empty(tensor.shape, tensor.dtype)
    ctypes.memmove(array.ctypes.data, tensor.address, tensor.size_bytes)
    return array


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _DLManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _DELETER))


_python = ctypes.pythonapi
_python.PyCapsule_GetPointer.restype = ctypes.c_void_p
_python.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
_python.PyCapsule_New.restype = ctypes.py_object
_python.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_handed: dict[int, object] = {}  # address of a structure that somebody else holds -> what must live as long


def _forget(address: int) -> None:
    _handed.pop(address, None)


_release = _DELETER(_forget)


def from_dlpack(capsule: Any) -> Tensor:
    """The tensor of a DLPack capsule, which is kept and not consumed.

    Raises:
        ValueError: values of a kind or a device that is not known here, or with gaps.
    """
    found = _DLManagedTensor.from_address(_python.PyCapsule_GetPointer(capsule, b"dltensor")).tensor
    if found.device_type not in (_CPU, _CUDA, _CUDA_HOST) or found.lanes != 1 or found.code not in _LETTERS:
        raise ValueError(f"DLPack: got device {found.device_type}, values of kind {found.code} x {found.lanes}")
    shape = tuple(found.shape[: found.ndim])
    if found.strides and tuple(found.strides[: found.ndim]) != _strides(shape):
        raise ValueError(f"DLPack: got strides {found.strides[: found.ndim]} of shape {shape}, expected no gaps")
    dtype = np.dtype(f"{_LETTERS[found.code]}{found.bits // 8}")
    card = found.device_id if found.device_type == _CUDA else HOST
    return Tensor((found.data or 0) + found.byte_offset, shape, dtype, card, capsule)


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of a tensor, for one who takes it over: its memory lives until that one lets go."""
    dims = (ctypes.c_int64 * len(tensor.shape))(*tensor.shape)
    kind, bits = _KINDS[tensor.dtype.kind], 8 * tensor.dtype.itemsize
    place = (_CPU, 0) if tensor.card == HOST else (_CUDA, tensor.card)
    inner = _DLTensor(tensor.address, *place, len(dims), kind, bits, 1, dims, None, 0)
    managed = _DLManagedTensor(inner, None, _release)
    address = ctypes.addressof(managed)
    _handed[address] = managed, dims, tensor.owner
    return _python.PyCapsule_New(address, b"dltensor", None)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
