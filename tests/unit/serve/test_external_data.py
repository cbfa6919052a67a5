"""An ONNX file with data in other files is refused, wherever in it they are named; what cannot be walked is, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from maskline_serve.repository import external_data
from support.export import external_files

MESSAGES = {
    "ModelProto": "model",
    "TrainingInfoProto": "training",
    "GraphProto": "graph",
    "FunctionProto": "function",
    "NodeProto": "node",
    "AttributeProto": "attribute",
    "SparseTensorProto": "sparse tensor",
    "TensorProto": "tensor",
}


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())  # onnx.save would look for the other file
    return path


@pytest.mark.parametrize("place", external_files.PLACES)
@pytest.mark.parametrize("location", ["w.bin", "../w.bin", "/etc/hostname"])
def test_data_in_another_file_are_refused_wherever_they_are_named(tmp_path: Path, place: str, location: str) -> None:
    path = saved(external_files.model(place, location), tmp_path)
    with pytest.raises(ValueError, match=r"model.onnx: got the tensor 'w' with its data in another file, expected all"):
        external_data.refuse_external_data(path)


def test_a_place_without_a_location_is_refused(tmp_path: Path) -> None:
    """Each of the two fields alone: readers differ in which of them they ask."""
    for field in ("data_location", "external_data"):
        model = external_files.model("initializer", "w.bin")
        model.graph.initializer[0].ClearField(field)
        with pytest.raises(ValueError, match="in another file"):
            external_data.refuse_external_data(saved(model, tmp_path))


def test_a_location_whose_lowest_32_bits_say_elsewhere_is_refused(tmp_path: Path) -> None:
    """Readers keep those bits alone: 2**32 + 1 is 1 to them."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x3a\x08\x2a\x06\x70\x81\x80\x80\x80\x10")
    model = onnx.ModelProto.FromString(path.read_bytes())
    assert model.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    with pytest.raises(ValueError, match="in another file"):
        external_data.refuse_external_data(path)


def test_data_inside_are_fine(tmp_path: Path) -> None:
    external_data.refuse_external_data(saved(external_files.inside(), tmp_path))


def test_every_way_from_a_model_to_a_tensor_is_walked() -> None:
    """The table is that of ONNX's own description of its format."""
    ways: dict[str, dict[int, str]] = {}
    waiting: list[Any] = [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        if message.name in ways or message.name == "TensorProto":
            continue
        inner = [field for field in message.fields if field.message_type is not None]
        ways[message.name] = {field.number: field.message_type.name for field in inner}
        waiting += [field.message_type for field in inner]
    lead = {"TensorProto"}
    while more := {name for name, fields in ways.items() if lead & set(fields.values())} - lead:
        lead |= more
    found = {
        MESSAGES[name]: {number: MESSAGES[inner] for number, inner in fields.items() if inner in lead}
        for name, fields in ways.items()
        if name in lead
    }
    assert found == external_data._INSIDE
    tensor = onnx.TensorProto.DESCRIPTOR.fields_by_name
    numbers = tuple(tensor[name].number for name in ("name", "external_data", "data_location"))
    assert numbers == (external_data._NAME, external_data._EXTERNAL_DATA, external_data._DATA_LOCATION)


def test_onnx_runtime_reads_them_even_for_a_session_of_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why the file itself is looked at: handing the bytes over instead of the path does not keep other files out."""
    np.arange(3, dtype=np.float32).tofile(tmp_path / "w.bin")
    monkeypatch.chdir(tmp_path)
    model = external_files.model("sparse initializer", "w.bin").SerializeToString()
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros(3, np.float32)})[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "got an empty file"),
        (b"\x3a", "not ONNX"),  # a graph, and nothing after
        (b"\x3a\x05\x08\x01", "not ONNX"),  # a graph of five bytes, of which two are there
        (b"\x3b\x3c", "not ONNX"),  # a group: old protobuf, no part of ONNX
        (b"\x08" + b"\xff" * 11, "not ONNX"),  # a number that does not end
        (b"\x00\x00", "not ONNX"),  # field 0
        (b"\xba\x80\x80\x80\x80\x20\x00", "not ONNX"),  # field 7 with a bit beyond the 32 of a tag, which readers drop
        (b"plain text, not a model", "not ONNX"),
    ],
)
def test_what_cannot_be_walked_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        external_data.refuse_external_data(path)


def test_messages_too_deep_in_each_other_are_refused(tmp_path: Path) -> None:
    graph = onnx.GraphProto(name="deep")
    for _ in range(60):  # graph, node, attribute: three levels each
        outer = onnx.GraphProto(name="deep")
        outer.node.add().attribute.add().g.CopyFrom(graph)
        graph = outer
    content = graph.SerializeToString()
    head, size = b"\x3a", len(content)
    while size > 0x7F:
        head, size = head + bytes([size & 0x7F | 0x80]), size >> 7
    path = tmp_path / "model.onnx"
    path.write_bytes(head + bytes([size]) + content)
    with pytest.raises(ValueError, match="more than 100 deep"):
        external_data.refuse_external_data(path)
