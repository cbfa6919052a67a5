"""Runs one node of our domain, with its function body, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from maskline_export.custom_ops.body import DOMAIN, OPSET, node_attributes
from onnx import TensorProto, helper

Array = npt.NDArray[Any]

# (element type, rank) of each output, by op.
_OUTPUTS = {
    "MultiscaleRoIAlign": [(TensorProto.FLOAT, 4)],
    "ProposalNMS": [(TensorProto.FLOAT, 3), (TensorProto.INT32, 1)],
    "ClasswiseNMS": [(TensorProto.FLOAT, 3), (TensorProto.FLOAT, 2), (TensorProto.INT32, 2), (TensorProto.INT32, 2)],
}


def run_op(function: onnx.FunctionProto, attributes: Any, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of one node of type `function.name`; every dimension is dynamic."""
    names = [f"input_{index}" for index in range(len(inputs))]
    outputs = [
        helper.make_tensor_value_info(f"output_{index}", dtype, [None] * rank)
        for index, (dtype, rank) in enumerate(_OUTPUTS[function.name])
    ]
    node = helper.make_node(
        function.name, names, [output.name for output in outputs], domain=DOMAIN, **node_attributes(attributes)
    )
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim)
        for name, array in zip(names, inputs, strict=True)
    ]
    model = helper.make_model(
        helper.make_graph([node], "one_op", values, outputs),
        functions=[function],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    return found


def float32(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """As a contiguous float32 array."""
    return np.ascontiguousarray(np.asarray(values, dtype=np.float32))
