"""Small ONNX models whose one weight lies in another file, in every place that a model has for a tensor."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

SIZE = 3


def tensor(location: str) -> TensorProto:
    """Of SIZE float32 numbers, which lie at `location`."""
    found = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[SIZE], data_location=TensorProto.EXTERNAL)
    found.external_data.add(key="location", value=location)
    return found


def sparse(location: str) -> SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(SIZE), "indices")
    return SparseTensorProto(values=tensor(location), indices=indices, dims=[SIZE])


def attribute(location: str, kind: str) -> AttributeProto:
    """One attribute that holds the tensor, itself or in a list, a sparse tensor or a graph."""
    graph = GraphProto(name="inner", initializer=[tensor(location)])
    fields = {
        "t": (AttributeProto.TENSOR, {"t": tensor(location)}),
        "tensors": (AttributeProto.TENSORS, {"tensors": [tensor(location)]}),
        "g": (AttributeProto.GRAPH, {"g": graph}),
        "graphs": (AttributeProto.GRAPHS, {"graphs": [graph]}),
        "sparse_tensor": (AttributeProto.SPARSE_TENSOR, {"sparse_tensor": sparse(location)}),
        "sparse_tensors": (AttributeProto.SPARSE_TENSORS, {"sparse_tensors": [sparse(location)]}),
    }
    type_, content = fields[kind]
    return AttributeProto(name="value", type=type_, **content)


PLACES = ("initializer", "sparse initializer", "t", "tensors", "g", "graphs", "sparse_tensor", "sparse_tensors")
PLACES += ("function", "default of a function", "training")


def model(place: str, location: str) -> ModelProto:
    """y = x + w, where w is at `place` in the model and its numbers in the file `location`."""
    graph = GraphProto(name="add")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE]) for name in ("x", "y")]
    graph.input.append(values[0])
    graph.output.append(values[1])
    found = ModelProto(ir_version=9, graph=graph, opset_import=[helper.make_opsetid("", 17)])
    node = helper.make_node("Constant", [], ["w"])
    if place == "initializer":
        found.graph.initializer.append(tensor(location))
    elif place == "sparse initializer":
        found.graph.sparse_initializer.append(sparse(location))
    elif place == "function":
        node.attribute.append(attribute(location, "t"))
        found.functions.add(name="F", domain="d").node.append(node)
    elif place == "default of a function":
        found.functions.add(name="F", domain="d").attribute_proto.append(attribute(location, "t"))
    elif place == "training":
        found.training_info.add().algorithm.initializer.append(tensor(location))
    else:
        node.attribute.append(attribute(location, place))
        found.graph.node.append(node)
    found.graph.node.append(helper.make_node("Add", ["x", "w"], ["y"]))
    return found


def inside() -> ModelProto:
    """The same model with its numbers inside."""
    found = model("initializer", "")
    weights = numpy_helper.from_array(np.arange(SIZE, dtype=np.float32), "w")
    found.graph.initializer[0].CopyFrom(weights)
    onnx.checker.check_model(found)
    return found
