"""Runs one node of ours by the custom ops of libmaskline_ort.so, with no function body to fall back to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import device
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from maskline_export.custom_ops.body import DOMAIN, OPSET, node_attributes
from onnx import TensorProto, helper

Array = npt.NDArray[Any]
FLOATS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
OUTPUTS = {
    "MultiscaleRoIAlign": (TensorProto.FLOAT,),
    "ProposalNMS": (TensorProto.FLOAT, TensorProto.INT32),
    "ClasswiseNMS": (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT32),
}
THREADS = 2


def run(op: str, attributes: Any, inputs: Sequence[Array], features: str = "float32") -> list[Array]:
    """Outputs of the node; all inputs but the first are cast to the type of the features, and the outputs back."""
    session = make_session(one_node(op, attributes, inputs, features))
    found: list[Array] = session.run(None, {f"input_{i}": np.ascontiguousarray(x) for i, x in enumerate(inputs)})
    return found


def one_node(op: str, attributes: Any, inputs: Sequence[Array], features: str = "float32") -> bytes:
    """A model of one node, with every dimension dynamic."""
    values = [
        helper.make_tensor_value_info(f"input_{i}", helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)
        for i, x in enumerate(inputs)
    ]
    outputs = [helper.make_tensor_value_info(f"output_{i}", kind, None) for i, kind in enumerate(OUTPUTS[op])]
    taken, given = [value.name for value in values], [value.name for value in outputs]
    casts = []
    if features != "float32":
        casts += [helper.make_node("Cast", [name], [f"{name}_low"], to=FLOATS[features]) for name in taken[1:]]
        casts += [helper.make_node("Cast", ["low"], given, to=TensorProto.FLOAT)]
        taken, given = [taken[0], *(f"{name}_low" for name in taken[1:])], ["low"]
    node = helper.make_node(op, taken, given, domain=DOMAIN, **node_attributes(attributes))
    graph = helper.make_graph([*casts[:-1], node, *casts[-1:]], "one_node", values, outputs)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return model.SerializeToString()


@functools.lru_cache(maxsize=64)
def make_session(model: bytes) -> ort.InferenceSession:
    """A session with our library and two threads; skips where the headers to build it are not."""
    if not (device.BUILD / device.ORT).is_file():
        pytest.skip(f"{device.ORT} is not built: ONNX Runtime's headers are not here (`make plugins` says more)")
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.register_custom_ops_library(str(device.BUILD / device.ORT))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
