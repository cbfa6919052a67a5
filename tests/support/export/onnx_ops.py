"""Models of one node of our domain, and their runs by its function body in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from maskline_export.custom_ops.body import DOMAIN, OPSET, node_attributes
from onnx import ModelProto, TensorProto, helper

Array = npt.NDArray[Any]

# (element type, rank) of each output, by op.
_OUTPUTS = {
    "MultiscaleRoIAlign": [(TensorProto.FLOAT, 4)],
    "ProposalNMS": [(TensorProto.FLOAT, 3), (TensorProto.INT32, 1)],
    "ClasswiseNMS": [(TensorProto.FLOAT, 3), (TensorProto.FLOAT, 2), (TensorProto.INT32, 2), (TensorProto.INT32, 2)],
    "MaskRLE": [(TensorProto.INT32, 3), (TensorProto.INT32, 2), (TensorProto.FLOAT, 3)],
}


def one_node(
    op: str, attributes: Any, inputs: Sequence[Array], bodies: Sequence[onnx.FunctionProto] = ()
) -> ModelProto:
    """A model of one node: input_0 and so on to output_0 and so on; every dimension is dynamic."""
    values = [
        helper.make_tensor_value_info(f"input_{i}", helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)
        for i, x in enumerate(inputs)
    ]
    outputs = [
        helper.make_tensor_value_info(f"output_{i}", dtype, [None] * rank)
        for i, (dtype, rank) in enumerate(_OUTPUTS[op])
    ]
    names = ([value.name for value in side] for side in (values, outputs))
    node = helper.make_node(op, *names, domain=DOMAIN, **node_attributes(attributes))
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], "one_op", values, outputs)
    return helper.make_model(graph, functions=list(bodies), opset_imports=opsets, ir_version=10)


def feeds(inputs: Sequence[Array]) -> dict[str, Array]:
    """The inputs by their names in `one_node`."""
    return {f"input_{i}": np.ascontiguousarray(array) for i, array in enumerate(inputs)}


def run_op(function: onnx.FunctionProto, attributes: Any, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of one node of type `function.name`, by its body."""
    model = one_node(function.name, attributes, inputs, [function])
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feeds(inputs))
    return found


def float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """As a contiguous float32 array."""
    return np.ascontiguousarray(np.asarray(values, dtype=np.float32))
