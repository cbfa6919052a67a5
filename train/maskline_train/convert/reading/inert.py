"""A reader of pickles that makes arrays and tensors, and runs nothing else that a file asks for.

A pickle can call any function of any package. Of the names in a file this reader hands out functions of its own, which
note what arrays and tensors are made of (`tensors.py`); for every other name it makes a stand-in, which takes what it
is given and does nothing.

It builds on the pickle module's reader in Python: the one in C allocates what a file only claims (a memo of 2^32
places, 2^60 bytes), and its steps cannot be replaced.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch

from maskline_train.convert.reading.tensors import (
    ArrayOfFile,
    DTypeOfFile,
    OtherTensor,
    StorageType,
    TensorOfFile,
    tensor_of,
)

_KEYS = (str, int, float, bytes, type(None))  # of dicts and sets; the hash of a nested tuple can take forever


class StandIn:
    """In place of an object of a class, or of what a function would have returned; it holds the object's state."""

    def __init__(self, *args: object, **named: object) -> None:
        """Take whatever the class would take."""

    def __setstate__(self, state: object) -> None:
        """Keep the attributes."""
        if isinstance(state, dict):
            self.__dict__.update({name: value for name, value in state.items() if isinstance(name, str)})

    def append(self, value: object) -> None:
        """An entry of a subclass of list: dropped."""

    def extend(self, values: object) -> None:
        """Entries of a subclass of list: dropped."""


def _ordered(items: Iterable[Any] = ()) -> OrderedDict[Any, Any]:
    """An OrderedDict; Python 2 wrote its entries as an argument."""
    return OrderedDict((key, value) for key, value in items if isinstance(key, _KEYS))


def _set(items: Iterable[Any] = ()) -> set[Any]:
    return {item for item in items if isinstance(item, _KEYS)}


def _first(value: object, *_: object) -> object:
    """A parameter is its data here."""
    return value


def _tensor_of_dtype(*args: Any) -> TensorOfFile:
    """One of a dtype that has no storage type of its own: requires_grad and hooks stand before the dtype."""
    return TensorOfFile(args[0], args[1], args[2], args[3], args[6])


def _with_attributes(function: object, kind: object, args: Any, *_: object) -> object:
    """A tensor with attributes of its own, or of a subclass that has the same values."""
    return tensor_of(*args) if function is tensor_of else OtherTensor(getattr(kind, "__name__", "a subclass"))


_NUMPY = ("numpy.core", "numpy._core")  # numpy 2's name is the second
_MADE: dict[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): _ordered,
    ("builtins", "set"): _set,
    ("__builtin__", "set"): _set,  # Python 2's name, which protocol 2 writes
    ("torch._utils", "_rebuild_tensor"): tensor_of,
    ("torch._utils", "_rebuild_tensor_v2"): tensor_of,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_dtype,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
    ("numpy", "dtype"): DTypeOfFile,
    **{(f"{place}.multiarray", "_reconstruct"): lambda *_: ArrayOfFile() for place in _NUMPY},
    **{(f"{place}.numeric", "_frombuffer"): ArrayOfFile.of_buffer for place in _NUMPY},  # protocol 5
}


class InertUnpickler(pickle._Unpickler):
    """Reads one pickle. Text is latin-1, as in the files that Python 2 wrote.

    Args:
        file: whose whole content lies in memory, so that nothing that it claims to hold is more than it holds.
        storages: finds the bytes of tensors by what a file calls them; None: it may have none.
    """

    def __init__(self, file: io.BytesIO, storages: Callable[[Any], object] | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self._storages = storages
        self._stand_ins: dict[str, type] = {}
        self._bytes_left = len(file.getbuffer())  # that `_encode` may make

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What a name in the file stands for."""
        if (module_name, global_name) == ("_codecs", "encode"):
            return self._encode
        made = _MADE.get((module_name, global_name))
        if made is not None:
            return made
        if module_name.partition(".")[0] == "torch":
            if global_name.endswith("Storage"):
                return StorageType(global_name)
            if isinstance(found := vars(torch).get(global_name), torch.dtype):
                return found
        if global_name.startswith("_rebuild"):
            return lambda *_: OtherTensor(global_name)
        return self._stand_ins.setdefault(global_name, type(global_name, (StandIn,), {}))

    def persistent_load(self, pid: Any) -> Any:
        """What lies outside of the pickle."""
        if self._storages is None:
            raise pickle.UnpicklingError(f"asks for {str(pid)[:40]!r}, which is not in it")
        return self._storages(pid)

    def _encode(self, text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes: as text in latin-1, and each once."""
        self._bytes_left -= len(text)
        if encoding != "latin1" or self._bytes_left < 0:
            raise pickle.UnpicklingError(f"asks for {len(text)} bytes in {encoding[:20]!r}")
        return text.encode("latin1")

    def _load_build(self) -> None:
        """Give an object its state; ours alone take one."""
        state = self.stack.pop()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(target, StandIn | ArrayOfFile | DTypeOfFile):
            target.__setstate__(state[0] if isinstance(target, StandIn) and isinstance(state, tuple) else state)

    def _load_item(self) -> None:
        """One entry of a dict."""
        value, key = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        self._put([key, value])

    def _load_items(self) -> None:
        """Entries of a dict."""
        self._put(self.pop_mark())  # type: ignore[attr-defined]

    def _put(self, items: list[Any]) -> None:
        target = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(target, dict):
            target.update(_pairs(items))

    def _load_dict(self) -> None:
        """A dict of protocol 0."""
        self._push(_pairs(self.pop_mark()))  # type: ignore[attr-defined]

    def _load_set_items(self) -> None:
        """Entries of a set."""
        items = self.pop_mark()  # type: ignore[attr-defined]
        if isinstance(target := self.stack[-1], set):  # type: ignore[attr-defined]
            target.update(_set(items))

    def _load_frozenset(self) -> None:
        self._push(frozenset(_set(self.pop_mark())))  # type: ignore[attr-defined]

    def _load_bytearray(self) -> None:
        """Its size is what the file holds, not what it claims."""
        size = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self._push(self.read(size))  # type: ignore[attr-defined]

    def _push(self, value: object) -> None:
        self.append(value)  # type: ignore[attr-defined]

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: _load_build,
        pickle.SETITEM[0]: _load_item,
        pickle.SETITEMS[0]: _load_items,
        pickle.DICT[0]: _load_dict,
        pickle.ADDITEMS[0]: _load_set_items,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.BYTEARRAY8[0]: _load_bytearray,
    }


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """Keys and values that take turns."""
    return {key: value for key, value in zip(items[::2], items[1::2], strict=True) if isinstance(key, _KEYS)}
