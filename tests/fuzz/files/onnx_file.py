"""ONNX files: one that `onnx` reads, and that has a tensor whose data lie elsewhere, is never taken.

The files are made field by field, by hand: tensors anywhere in a model, with and without external data, and edits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from atheris import FuzzedDataProvider
from fuzz.edits import edited_bytes
from fuzz.oracle import judged
from google.protobuf.message import DecodeError
from maskline_serve.repository.external_data import refuse_external_data

# Message -> (number, what it holds): ways from a model to a tensor, by onnx.proto3.
_WAYS = {
    "model": ((7, "graph"), (20, "training"), (25, "function"), (8, "text")),
    "training": ((1, "graph"), (2, "graph"), (3, "text")),
    "graph": ((1, "node"), (5, "tensor"), (15, "sparse"), (11, "text"), (2, "text")),
    "function": ((7, "node"), (11, "attribute"), (1, "text")),
    "node": ((5, "attribute"), (1, "text"), (4, "text")),
    "attribute": (
        (5, "tensor"),
        (6, "graph"),
        (10, "tensor"),
        (11, "graph"),
        (22, "sparse"),
        (23, "sparse"),
        (1, "text"),
    ),
    "sparse": ((1, "tensor"), (2, "tensor")),
}
_DEEPEST = 12
_BYTES = 2


def prepare(place: Path) -> Callable[[bytes], None]:
    """The target; its file lies in `place`."""
    path = place / "model.onnx"

    def run(data: bytes) -> None:
        choices = FuzzedDataProvider(data)
        file = _message(choices, "model", 0)
        if choices.ConsumeIntInRange(0, 2) == 0:
            file = edited_bytes(file, choices)
        path.write_bytes(file)
        is_taken = False
        with judged(ValueError):
            refuse_external_data(path)
            is_taken = True
        model = onnx.ModelProto()
        try:
            model.ParseFromString(file)
        except DecodeError:
            return
        outside = [tensor.name for tensor in tensors(model) if tensor.data_location or tensor.external_data]
        assert not (is_taken and outside), f"taken, though the data of {outside} lie elsewhere"

    return run


def tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor in a message, at any depth, by protobuf's own descriptors."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from tensors(inner)


def _message(choices: FuzzedDataProvider, kind: str, depth: int) -> bytes:
    """The fields of a message of that kind."""
    if kind == "text":
        return choices.ConsumeBytes(choices.ConsumeIntInRange(0, 6))
    if kind == "tensor":
        return _tensor(choices)
    fields = bytearray()
    for _ in range(choices.ConsumeIntInRange(0, 3)):
        number, inner = choices.PickValueInList(list(_WAYS[kind]))
        if depth < _DEEPEST or inner in ("tensor", "text"):
            fields += _field(choices, number, _message(choices, inner, depth + 1))
    return bytes(fields)


def _tensor(choices: FuzzedDataProvider) -> bytes:
    fields = bytearray(_field(choices, 8, b"weight"))
    for _ in range(choices.ConsumeIntInRange(0, 4)):
        kind = choices.ConsumeIntInRange(0, 4)
        if kind == 0:  # data_location
            fields += _varint(14 << 3) + _varint(choices.PickValueInList([0, 1, 2, 2**32, 2**32 + 1, 2**63]))
        elif kind == 1:  # external_data, a pair of texts
            fields += _field(choices, 13, _field(choices, 1, b"location") + _field(choices, 2, b"/etc/passwd"))
        elif kind == 2:
            fields += _field(choices, 9, choices.ConsumeBytes(4))
        elif kind == 3:  # dims
            fields += _varint(1 << 3) + _varint(choices.ConsumeIntInRange(0, 2**63))
        else:  # a number of fixed width
            fields += _varint(100 << 3 | choices.PickValueInList([1, 5])) + choices.ConsumeBytes(8).ljust(8, b"\0")
    return bytes(fields)


def _field(choices: FuzzedDataProvider, number: int, value: bytes) -> bytes:
    """A field of bytes; seldom its length lies, or it is written in more bytes than it needs."""
    length = len(value)
    lie = choices.ConsumeIntInRange(0, 60)
    if lie == 1:
        length = choices.PickValueInList([0, max(length - 1, 0), length + 1, 2**31, 2**64 - 1])
    return _varint(number << 3 | _BYTES) + _varint(length, pad=lie == 2) + value


def _varint(value: int, pad: bool = False) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value | 0x80, 0x80, 0]) if pad else bytes([*out, value])
