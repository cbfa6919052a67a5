"""Reads an ONNX file, and refuses one whose tensors lie in other files: such a file says which ones are read.

What we export holds all of its data. Every reader of this package comes through here before it loads a file itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, Message

from maskline_export.errors import ContractError

_AGAIN = "export it again with `maskline-export onnx`"


def load_onnx(path: Path) -> onnx.ModelProto:
    """The model in a file, with all of its data.

    Raises:
        ContractError: not an ONNX file, or a tensor's data lie in another file.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ContractError(f"{path}: got a file that is not ONNX ({error}); {_AGAIN}") from error
    for tensor in _tensors(model):
        # Each of the two alone is refused: readers differ in which of them they ask.
        if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
            raise ContractError(
                f"{path}: got the tensor {tensor.name!r} with its data in another file, expected all data in this "
                f"one; {_AGAIN}"
            )
    return model


def _tensors(message: Message) -> Iterator[onnx.TensorProto]:
    """Every tensor in a message, however deep: of initializers, attributes, inner graphs, functions, training."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if isinstance(value, Message) else value:
                yield from _tensors(inner)
