"""Refuses ONNX files whose tensors lie in other files: such a file says which ones are read, from anywhere on the disk.

ONNX Runtime reads them even for a session made of bytes, then from the working directory. What we export has none, so
any is refused before the file is loaded. Where models are served there is no `onnx` package: this walks protobuf's own
format. The `onnxruntime` backend's file of this name is a link to it, so it imports nothing of ours.

Ref: https://protobuf.dev/programming-guides/encoding, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# Message -> number of a field that holds messages to look into -> what they are. All ways from a model to a tensor.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_NAME, _EXTERNAL_DATA, _DATA_LOCATION = 8, 13, 14  # fields of a tensor
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # how a field is written
_MAX_VARINT_BYTES = 10
_MAX_TAG = 2**32 - 1
_MAX_DEPTH = 100  # messages inside each other; protobuf's own limit

Span = tuple[int, int]


def refuse_external_data(path: Path) -> None:
    """Check an ONNX file before it is loaded.

    Raises:
        ValueError: a tensor's data lie in another file, or the file is no ONNX file that can be walked.
    """
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: got an empty file, expected an ONNX file; export it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                name = next(_outside(data, (0, len(data)), "model", 0), None)
            except (IndexError, OverflowError) as error:
                raise ValueError(f"{path}: got a file that is not ONNX ({error}); export it again") from error
    if name is not None:
        raise ValueError(
            f"{path}: got the tensor {name!r} with its data in another file, expected all data in this one; "
            "export it again with `maskline-export onnx`"
        )


def _outside(data: mmap.mmap, span: Span, kind: str, depth: int) -> Iterator[str]:
    """Names of the tensors in a message whose data lie elsewhere."""
    if depth > _MAX_DEPTH:
        raise OverflowError(f"messages lie more than {_MAX_DEPTH} deep in each other")
    if kind == "tensor":
        yield from _if_outside(data, span)
        return
    for number, value in _fields(data, span):
        if number in _INSIDE[kind] and isinstance(value, tuple):
            yield from _outside(data, value, _INSIDE[kind][number], depth + 1)


def _if_outside(data: mmap.mmap, span: Span) -> Iterator[str]:
    """The tensor's name if it says anything of data elsewhere: a place, or any location but the default."""
    name, outside = "", False
    for number, value in _fields(data, span):
        if number == _NAME and isinstance(value, tuple):
            name = data[slice(*value)].decode(errors="replace")
        outside |= number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0)
    if outside:
        yield name


def _fields(data: mmap.mmap, span: Span) -> Iterator[tuple[int, int | Span]]:
    """Number and value of each field of a message: a number, or where its bytes lie; a fixed number counts as 0."""
    at, end = span
    while at < end:
        tag, at = _varint(data, at)
        number, way = tag >> 3, tag & 7
        value: int | Span = 0
        if way == _VARINT:
            value, at = _varint(data, at)
        elif way == _BYTES:
            size, start = _varint(data, at)
            value, at = (start, start + size), start + size
        elif way in (_FIXED64, _FIXED32):
            at += 8 if way == _FIXED64 else 4
        else:
            raise IndexError(f"a field of kind {way} at byte {at}")
        if at > end or number == 0 or tag > _MAX_TAG:
            raise IndexError(f"a broken field before byte {at}")
        yield number, value


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where the next thing begins."""
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise IndexError(f"a number without end at byte {at}")
