"""The two formats of `torch.save`, by a reader that runs nothing: a zip archive, and since before torch 1.6 a stream.

Both are a pickle, and beside it the bytes of the tensors. Ref: torch/serialization.py (`_load`, `_legacy_load`).
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from maskline_train.convert.reading.inert import InertUnpickler
from maskline_train.convert.reading.tensors import Storage, StorageType

ZIP = b"PK\x03\x04"
OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # what the stream begins with
_PICKLE = "data.pkl"
_COUNT_BYTES = 8  # the number of elements, before the bytes of each storage of the stream


def read_zip(path: Path) -> Any:
    """What an archive holds; the bytes of tensors are read when a tensor is made.

    Raises:
        ValueError: none of `torch.save`, or one that holds a program.
        zipfile.BadZipFile: damaged.
        pickle.UnpicklingError: its pickle is damaged.
    """
    # Open for as long as a tensor may be made of it: to open it is to read its directory, which has every tensor.
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    if any(PurePosixPath(name).name == "constants.pkl" for name in names):
        raise ValueError("a TorchScript archive, which holds a program; save the model's state_dict() instead")
    place = next((name.removesuffix(_PICKLE) for name in names if PurePosixPath(name).name == _PICKLE), None)
    if place is None:
        raise ValueError(f"an archive without {_PICKLE}, so none of `torch.save`")
    reader = _Entries(archive)
    if reader.bytes_of(f"{place}byteorder", b"little") != b"little":
        raise ValueError("its numbers are those of a big-endian machine; save it anew on a usual one")

    def storage(pid: Any) -> Storage:
        kind, key, count = _storage_id(pid)
        return Storage(kind, lambda: reader.cached(f"{place}data/{key}"), 0, count * _bytes_each(kind))

    return InertUnpickler(io.BytesIO(reader.bytes_of(place + _PICKLE)), storage).load()


class _Entries:
    """Entries of an archive. `torch.save` does not compress: what does claims more than the file is."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._read: dict[str, bytearray] = {}

    def cached(self, name: str) -> bytearray:
        """An entry's bytes; tensors that share a storage share them."""
        if name not in self._read:
            self._read[name] = bytearray(self.bytes_of(name))
        return self._read[name]

    def bytes_of(self, name: str, default: bytes | None = None) -> bytes:
        """An entry's bytes.

        Raises:
            ValueError: there is none, or it is compressed.
            zipfile.BadZipFile: it is damaged, or lies where another entry does.
        """
        entry = self._archive.NameToInfo.get(name)
        if entry is None and default is not None:
            return default
        if entry is None:
            raise ValueError(f"its entry {name[:80]!r} is missing")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry {name[:80]!r} is compressed, which `torch.save` never does")
        return self._archive.read(entry)


def read_stream(data: bytes) -> Any:
    """What a file of the old format holds.

    Raises:
        ValueError: damaged.
        pickle.UnpicklingError: damaged.
    """
    stream = io.BytesIO(data)
    _, _, machine = (InertUnpickler(stream).load() for _ in range(3))  # a magic number, the protocol, the machine
    if not (isinstance(machine, dict) and machine.get("little_endian") is True):
        raise ValueError("its numbers are those of a big-endian machine; save it anew on a usual one")
    parts = _Parts(data)
    content = InertUnpickler(stream, parts.outside).load()
    parts.place(InertUnpickler(stream).load(), stream.tell())
    return content


class _Parts:
    """The storages of a stream. Where each begins is known once the pickle before them has been read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._types: dict[str, StorageType] = {}
        self._places: dict[str, slice] = {}
        self._read: dict[str, bytearray] = {}

    def outside(self, pid: Any) -> Any:
        """What a name in the pickle stands for."""
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":  # a class, and its source
            return pid[1]
        kind, key, count = _storage_id(pid)
        self._types[key] = kind
        view = pid[5] if len(pid) > 5 else None  # of a part of a storage: a name, its first element, how many
        first = 0
        if isinstance(view, tuple) and len(view) == 3:
            first, count = _count(view[1]), _count(view[2])
        each = _bytes_each(kind)
        return Storage(kind, lambda: self._cached(key), first * each, count * each)

    def place(self, keys: Any, start: int) -> None:
        """Note where each storage lies, from `start` on, in the order of their names."""
        for key in keys if isinstance(keys, list) else ():
            if key not in self._types:
                raise ValueError(f"holds the bytes of {str(key)[:20]!r}, which no tensor has")
            count = int.from_bytes(self._data[start : start + _COUNT_BYTES], "little")
            end = start + _COUNT_BYTES + count * _bytes_each(self._types[key])
            if end > len(self._data):
                raise ValueError(f"ends within the bytes of tensor storage {key[:20]!r}")
            self._places[key] = slice(start + _COUNT_BYTES, end)
            start = end

    def _cached(self, key: str) -> bytearray:
        if key not in self._places:
            raise ValueError(f"its storage {key[:20]!r} is not in the file")
        if key not in self._read:
            self._read[key] = bytearray(self._data[self._places[key]])
        return self._read[key]


def _storage_id(pid: Any) -> tuple[StorageType, str, int]:
    """Type, name and number of elements of a storage, as a pickle refers to it."""
    good = isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], StorageType)
    if not good or not isinstance(pid[2], str):
        raise pickle.UnpicklingError(f"asks for {str(pid)[:40]!r}, which is no storage of a tensor")
    return pid[1], pid[2], _count(pid[4])


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise pickle.UnpicklingError(f"got {str(value)[:20]!r} elements of a tensor")
    return int(value)


def _bytes_each(kind: StorageType) -> int:
    """Of one element. Types that are not known are refused when a tensor is made of them; until then any size does."""
    return 1 if kind.dtype is None else kind.dtype.itemsize
