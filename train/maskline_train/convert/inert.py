"""A reader of pickles that makes arrays and tensors, and runs nothing else that a file asks for.

A pickle can call any function of any package. Of the names in a file this reader hands out those few that make arrays
and tensors; for every other one it makes a stand-in, which takes what it is given and does nothing.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import torch


class StandIn:
    """In place of an object of a class, or of what a function would have returned; it holds the object's state."""

    def __init__(self, *args: object, **named: object) -> None:
        """Take whatever the class would take."""

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, key: object, value: object) -> None:
        """An entry of a subclass of dict: dropped."""

    def append(self, value: object) -> None:
        """An entry of a subclass of list: dropped."""

    def extend(self, values: object) -> None:
        """Entries of a subclass of list: dropped."""


def _empty_array(*_: object) -> npt.NDArray[Any]:
    """What an array begins as; its shape, dtype and bytes follow."""
    return np.empty(0, np.uint8)


def _as_bytes(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes: as text in latin-1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding!r}")
    return text.encode("latin1")


_MADE: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,  # Python 2's name, which protocol 2 writes
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,  # numpy 2's name
    ("_codecs", "encode"): _as_bytes,
}


class InertUnpickler(pickle.Unpickler):
    """Reads one pickle. Text is latin-1, as in the files that Python 2 wrote."""

    def __init__(self, file: IO[bytes], **_: object) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name in the file stands for."""
        made = _MADE.get((module_name, global_name))
        return made if made is not None else type(global_name, (StandIn,), {})


# What `torch.load` takes as `pickle_module`; it finds the storages of tensors by itself.
PICKLE_MODULE = SimpleNamespace(__name__="inert", Unpickler=InertUnpickler)
