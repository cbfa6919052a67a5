"""Runs one node of ours by a library of custom ops in ONNX Runtime, with no function body to fall back to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import device
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from support.export import onnx_ops

Array = npt.NDArray[Any]
TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}  # that numpy or ONNX Runtime's Python lack
THREADS = 2


def run(
    where: str, op: str, attributes: Any, inputs: Sequence[Array], features: Sequence[int] = (), dtype: str = "float32"
) -> list[Array]:
    """Outputs of the node on `ort-cpu`, `ort-simt` or `ort-cuda`.

    Inputs `features` are cast to `dtype` inside, and an output that has their type is cast back to float32.
    """
    model = onnx_ops.one_node(op, attributes, inputs)
    if dtype in TYPES:
        cast_features(model.graph, features, TYPES[dtype], cast_output=op == "MultiscaleRoIAlign")
    found: list[Array] = make_session(model.SerializeToString(), where).run(None, onnx_ops.feeds(inputs))
    return found


def cast_features(graph: onnx.GraphProto, positions: Sequence[int], dtype: int, cast_output: bool) -> None:
    """Put a cast before these inputs of the graph's one node, and one after its output."""
    node = graph.node.pop()
    for i in positions:
        graph.node.append(helper.make_node("Cast", [node.input[i]], [f"low_{i}"], to=dtype))
        node.input[i] = f"low_{i}"
    graph.node.append(node)
    if cast_output:
        given, graph.node[-1].output[0] = node.output[0], "low"
        graph.node.append(helper.make_node("Cast", ["low"], [given], to=TensorProto.FLOAT))


@functools.lru_cache(maxsize=64)
def make_session(model: bytes, where: str = "ort-cpu") -> ort.InferenceSession:
    """A session with our library and two threads; skips where the headers to build it, or the GPU, are not."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.register_custom_ops_library(str(device.custom_ops(where)))
    if where != "ort-cuda":
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        pytest.skip("ort-cuda: this onnxruntime has no CUDA provider (`pip install onnxruntime-gpu`)")
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # or another provider's kernel would pass
    return ort.InferenceSession(model, options, providers=["CUDAExecutionProvider"])
