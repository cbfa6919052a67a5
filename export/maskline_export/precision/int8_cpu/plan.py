"""Which nodes of a stage compute in int8, and which tensors are rounded to 8 bits for them.

Convolutions and matrix products do, but for the predictors: one whose outcome reaches no other product is an answer
(class logits, box deltas, keypoint logits), and detectors lose most where the regression is rounded. So do the sums,
poolings and nearest resizes that lie between two such nodes, so that the maps stay 8 bits wide all along the trunk.

A tensor is rounded where such a node reads or writes it. A ReLU behind a node is part of it: its outcome is rounded,
not what goes in, since a range that begins at zero is a ReLU by itself.
"""

from __future__ import annotations

import dataclasses

import onnx

PRODUCTS = frozenset({"Conv", "Gemm"})
_LATER_PRODUCTS = PRODUCTS | {"ConvTranspose", "MatMul"}
# They choose among the values that come in, so what goes out has the same range.
_CHOOSING = frozenset({"MaxPool", "Resize"})
_CARRIERS = _CHOOSING | {"Add"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What becomes int8 in a stage.

    Attributes:
        products: the convolutions and matrix products, by the name of their first output.
        tensors: the activations that are rounded, in the order of the graph; each with the tensor whose range it has,
            itself but for what a pooling or a resize gives.
    """

    products: frozenset[str]
    tensors: dict[str, str]


def plan(model: onnx.ModelProto) -> Plan:
    """The plan of a float32 stage as `maskline-export onnx` writes it; empty where nothing is worth it."""
    return _Planning(model.graph).run()


class _Planning:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes = list(graph.node)
        self._weights = {weight.name for weight in graph.initializer}
        self._inputs = {value.name for value in graph.input}
        self._outputs = {value.name for value in graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._leads: dict[str, bool] = {}  # tensor -> whether a product is downstream of it
        for node in reversed(self._nodes):
            for name in node.output:
                readers = self._readers.get(name, [])
                self._leads[name] = any(r.op_type in _LATER_PRODUCTS or self._leads[r.output[0]] for r in readers)

    def run(self) -> Plan:
        """One pass in the order of the graph, which is topological."""
        products: set[str] = set()
        tensors: dict[str, str] = {}
        for node in self._nodes:
            if self._is_product(node):
                products.add(node.output[0])
                tensors.setdefault(node.input[0], node.input[0])
            elif not self._is_carrier(node, tensors):
                continue
            outcome = self._outcome(node)
            chosen = node.op_type in _CHOOSING and outcome == node.output[0]
            tensors[outcome] = tensors[node.input[0]] if chosen else outcome
        return Plan(frozenset(products), tensors)

    def _is_product(self, node: onnx.NodeProto) -> bool:
        return (
            node.op_type in PRODUCTS
            and self._leads[node.output[0]]
            and all(name in self._weights for name in node.input[1:])
            and node.input[0] not in self._inputs
        )

    def _is_carrier(self, node: onnx.NodeProto, tensors: dict[str, str]) -> bool:
        if node.op_type not in _CARRIERS or not self._leads[node.output[0]]:
            return False
        if node.op_type == "Resize" and any(a.name == "mode" and a.s != b"nearest" for a in node.attribute):
            return False
        return all(name in tensors for name in node.input if name and name not in self._weights)

    def _outcome(self, node: onnx.NodeProto) -> str:
        """The node's output, or that of the ReLU that alone reads it."""
        name = node.output[0]
        readers = self._readers.get(name, [])
        absorbed = name not in self._outputs and len(readers) == 1 and readers[0].op_type == "Relu"
        return str(readers[0].output[0] if absorbed else name)
