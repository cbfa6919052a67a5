"""Runs one node of ours by the custom ops of libmaskline_ort.so, with no function body to fall back to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import device
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from support.export import onnx_ops

Array = npt.NDArray[Any]
TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}  # that numpy or ONNX Runtime's Python lack
THREADS = 2


def run(op: str, attributes: Any, inputs: Sequence[Array], features: str = "float32") -> list[Array]:
    """Outputs of the node; all inputs but the first are cast to the type of the features, and the output back."""
    model = onnx_ops.one_node(op, attributes, inputs)
    if features != "float32":
        cast_features(model.graph, TYPES[features])
    found: list[Array] = make_session(model.SerializeToString()).run(None, onnx_ops.feeds(inputs))
    return found


def cast_features(graph: onnx.GraphProto, dtype: int) -> None:
    """Put a cast before each input of the graph's one node but the first, and one after its output."""
    node = graph.node.pop()
    for i in range(1, len(node.input)):
        graph.node.append(helper.make_node("Cast", [node.input[i]], [f"low_{i}"], to=dtype))
        node.input[i] = f"low_{i}"
    given, node.output[0] = node.output[0], "low"
    graph.node.extend([node, helper.make_node("Cast", ["low"], [given], to=TensorProto.FLOAT)])


@functools.lru_cache(maxsize=64)
def make_session(model: bytes) -> ort.InferenceSession:
    """A session with our library and two threads; skips where the headers to build it are not."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.register_custom_ops_library(str(device.custom_ops()))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
