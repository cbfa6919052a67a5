"""A session of ONNX Runtime that runs one of our ops by its exported function body, or by our custom op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from maskline_export.custom_ops.body import DOMAIN, OPSET, node_attributes
from onnx import TensorProto, helper


def session_of_body(
    body: onnx.FunctionProto,
    op: Any,
    inputs: Mapping[str, npt.NDArray[np.float32]],
    outputs: Sequence[onnx.ValueInfoProto],
    threads: int,
    library: Path | None = None,
) -> ort.InferenceSession:
    """A graph of one node of the body's op.

    Args:
        body: the function.
        op: its attributes.
        inputs: name to a tensor of that shape, in the op's order.
        outputs: in the op's order.
        threads: of the session.
        library: of custom ops, which win over the body.
    """
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in inputs.items()]
    names = [output.name for output in outputs]
    attributes: dict[str, Any] = node_attributes(op)
    node = helper.make_node(body.name, list(inputs), names, domain=DOMAIN, **attributes)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    graph = helper.make_graph([node], body.name, infos, list(outputs))
    model = helper.make_model(graph, functions=[body], opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if library is not None:
        options.register_custom_ops_library(str(library))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
