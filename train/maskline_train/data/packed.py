"""A list that worker processes can share."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Generic, TypeVar, cast

import numpy as np

T = TypeVar("T")


class PackedList(Generic[T]):
    """A read-only list kept as one block of bytes; an item is unpacked when it is asked for.

    A million small Python objects would be copied into each loader process as their reference counts change;
    one array is not.
    """

    def __init__(self, items: Iterable[T]) -> None:
        packed = [pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL) for item in items]
        self._ends = np.cumsum([len(item) for item in packed], dtype=np.int64)
        self._data = np.frombuffer(b"".join(packed), np.uint8)

    def __len__(self) -> int:
        """The number of items."""
        return len(self._ends)

    def __getitem__(self, index: int) -> T:
        """Item `index`, a fresh copy; negative indices count from the end."""
        position = range(len(self))[index]  # raises IndexError as a list does
        start = int(self._ends[position - 1]) if position else 0
        return cast(T, pickle.loads(self._data[start : int(self._ends[position])].tobytes()))
