"""Looking inside an exported stage: custom-op nodes are found by type, never by name."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from maskline_export.custom_ops import multiscale_roi_align
from maskline_export.custom_ops.body import DOMAIN


def custom_node(model: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    """The one node of our domain with this type.

    Raises:
        ValueError: none or several.
    """
    nodes: list[onnx.NodeProto] = [
        node for node in model.graph.node if node.domain == DOMAIN and node.op_type == op_type
    ]
    if len(nodes) != 1:
        raise ValueError(f"graph {model.graph.name!r}: got {len(nodes)} {op_type} nodes, expected 1; export again")
    return nodes[0]


def pooled_features(model: onnx.ModelProto) -> str:
    """The tensor of features that a head pools: of the one MultiscaleRoIAlign node, or the sum of one a level."""
    name = multiscale_roi_align.NAME
    parts: list[str] = [node.output[0] for node in model.graph.node if node.domain == DOMAIN and node.op_type == name]
    for node in model.graph.node:  # in topological order
        if node.op_type == "Add" and set(node.input) <= set(parts):
            parts.append(node.output[0])
    return parts[-1]


def with_outputs(model: onnx.ModelProto, tensors: dict[str, str]) -> onnx.ModelProto:
    """A copy that also outputs float tensors, as float32: `tensors` maps a new output's name to an inner tensor's."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name, inner in tensors.items():
        copy.graph.node.append(helper.make_node("Cast", [inner], [name], to=TensorProto.FLOAT))
        copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return copy


def without_node(model: onnx.ModelProto, node: onnx.NodeProto, types: dict[str, int]) -> onnx.ModelProto:
    """A copy in which the outputs of `node` are inputs of the graph.

    Inputs that only the removed node read are dropped, so that the rest asks for what it really needs.

    Args:
        model: the stage.
        node: a node of `model`.
        types: name of each output of the node -> TensorProto element type.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = [other for other in copy.graph.node if list(other.output) != list(node.output)]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    needed = _reachable(copy)
    kept = [value for value in copy.graph.input if value.name in needed]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    for name, element_type in types.items():
        copy.graph.input.append(helper.make_tensor_value_info(name, element_type, None))
    live = [other for other in copy.graph.node if set(other.output) & needed]
    del copy.graph.node[:]
    copy.graph.node.extend(live)
    return copy


def _reachable(model: onnx.ModelProto) -> set[str]:
    """Names of all tensors that some output of the graph depends on; control-flow bodies count as readers."""
    needed = {value.name for value in model.graph.output}
    for node in reversed(model.graph.node):  # nodes are in topological order
        if set(node.output) & needed:
            needed |= set(node.input)
            for attribute in node.attribute:
                for inner in attribute.g.node:
                    needed |= set(inner.input)
    return needed
