"""What files say of arrays and tensors, noted while they are read, and made into tensors afterwards.

Nothing is made that is larger than the bytes it is made of, and nothing is read beyond them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

# By the names of their storages; others, such as those of quantised tensors, are of no use here.
_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "Untyped": torch.uint8,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
_NUMBERS = re.compile(r"[fiub]\d+")  # numpy's floats, integers and booleans


@dataclasses.dataclass(frozen=True)
class StorageType:
    """A class of storages, e.g. FloatStorage."""

    name: str

    @property
    def dtype(self) -> torch.dtype | None:
        """Of its elements; None for one that is not known."""
        return _DTYPES.get(self.name.removesuffix("Storage"))


@dataclasses.dataclass(frozen=True)
class Storage:
    """Where the bytes of tensors are.

    Attributes:
        type: of its elements.
        read: gives the bytes, writable; each call the same ones or a copy.
        start: of the first byte that is its own.
        num_bytes: its own.
    """

    type: StorageType
    read: Callable[[], bytearray]
    start: int
    num_bytes: int


@dataclasses.dataclass(frozen=True)
class TensorOfFile:
    """A dense tensor as a file describes it; nothing of it is checked yet."""

    storage: Any
    offset: Any
    size: Any
    stride: Any
    dtype: Any = None

    def tensor(self) -> Tensor:
        """The tensor.

        Raises:
            ValueError: no dense tensor, or one that reaches beyond its storage.
        """
        if not isinstance(self.storage, Storage):
            raise ValueError("it has no storage")
        dtype = self.dtype if isinstance(self.dtype, torch.dtype) else self.storage.type.dtype
        if dtype is None:
            raise ValueError(f"got a tensor on a {self.storage.type.name}, expected floats")
        size, stride = tuple(self.size), tuple(self.stride)
        if len(size) != len(stride) or not all(_is_count(value) for value in (self.offset, *size, *stride)):
            raise ValueError(f"got size {size}, stride {stride}, offset {self.offset}, expected as many from 0 on")
        available = self.storage.num_bytes // dtype.itemsize
        reach = self.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) + 1
        if math.prod(size) > available or (math.prod(size) > 0 and reach > available):
            raise ValueError(f"got size {size}, stride {stride}, offset {self.offset} in {available} numbers")
        if math.prod(size) == 0:
            return torch.empty(size, dtype=dtype)
        return self._whole(dtype, available).as_strided(size, stride, self.offset)

    def _whole(self, dtype: torch.dtype, count: int) -> Tensor:
        """All numbers of the storage."""
        data = self.storage.read()
        if len(data) < self.storage.start + self.storage.num_bytes:
            raise ValueError(f"its storage holds {len(data)} bytes, expected {self.storage.num_bytes}")
        return torch.frombuffer(data, dtype=dtype, count=count, offset=self.storage.start)


def tensor_of(storage: object, offset: object, size: object, stride: object, *_: object) -> TensorOfFile:
    """What `torch._utils._rebuild_tensor_v2` is called with."""
    return TensorOfFile(storage, offset, size, stride)


@dataclasses.dataclass(frozen=True)
class OtherTensor:
    """A tensor that is not dense: sparse, quantised, nested, of a subclass."""

    kind: str

    def tensor(self) -> Tensor:
        """Never.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"got a tensor of another kind ({self.kind}), expected a dense one")


class DTypeOfFile:
    """A numpy dtype as a file describes it, e.g. `f4`, then its byte order."""

    def __init__(self, text: object = "", *_: object) -> None:
        self._text = text if isinstance(text, str) else ""
        self._order = "="

    def __setstate__(self, state: object) -> None:
        """Take the byte order."""
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self._order = state[1]

    @property
    def is_number(self) -> bool:
        """Whether it is of floats, integers or booleans."""
        return _NUMBERS.fullmatch(self._text) is not None

    def numpy(self) -> np.dtype[Any]:
        """The dtype.

        Raises:
            ValueError: not of numbers, or none that this machine has.
        """
        try:
            if self.is_number:
                return np.dtype(self._order + self._text)
        except TypeError:
            pass
        raise ValueError(f"got an array of dtype {self._text!r}, expected floats")


class ArrayOfFile:
    """A numpy array as a file describes it; nothing of it is checked yet."""

    def __init__(self, state: tuple[Any, ...] = ((), None, False, b"")) -> None:
        self._shape, self._dtype, self._fortran, self._data = state

    @classmethod
    def of_buffer(cls, data: object, dtype: object, shape: object, order: object) -> ArrayOfFile:
        """What `numpy.core.numeric._frombuffer` is called with."""
        return cls((shape, dtype, order == "F", data))

    def __setstate__(self, state: object) -> None:
        """Shape, dtype, order and bytes; a version before them."""
        if isinstance(state, tuple) and len(state) in (4, 5):
            self._shape, self._dtype, self._fortran, self._data = state[-4:]

    @property
    def is_number(self) -> bool:
        """Whether it is of floats, integers or booleans."""
        return isinstance(self._dtype, DTypeOfFile) and self._dtype.is_number

    def tensor(self) -> Tensor:
        """The array as a tensor of float32, int64 or bool.

        Raises:
            ValueError: not of numbers, or its bytes are not as many as its shape says.
        """
        if not isinstance(self._dtype, DTypeOfFile):
            raise ValueError("got an array without a dtype, expected floats")
        dtype = self._dtype.numpy()
        data = self._data.encode("latin1") if isinstance(self._data, str) else self._data  # Python 2 wrote str
        shape = self._shape if isinstance(self._shape, tuple) else (self._shape,)
        if not isinstance(data, bytes | bytearray) or not all(map(_is_count, shape)):
            raise ValueError(f"got an array of shape {shape} of a {type(data).__name__}, expected bytes")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"got an array of shape {shape}, {dtype}, in {len(data)} bytes")
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if self._fortran else "C")
        kind = {"f": np.float32, "b": np.bool_}.get(dtype.kind, np.int64)
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite, which is refused by name
            return torch.from_numpy(array.astype(kind, order="C"))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
