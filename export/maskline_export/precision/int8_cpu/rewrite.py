"""A float32 stage with Q/DQ nodes by a plan: what ONNX Runtime turns into its int8 kernels.

Every rounded tensor keeps its name for those who read it: the node that makes it writes another name, and a
QuantizeLinear and a DequantizeLinear lie between. Weights are int8 with a scale an output channel; a bias is int32
with the scale of the products that it is added to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from maskline_export.precision.int8_cpu.plan import Plan
from maskline_export.precision.int8_cpu.ranges import Range

_WEIGHT_LEVELS = 127  # symmetric int8
_SMALLEST_WEIGHT = np.float32(1e-12)  # the largest of a channel is taken for this at least
_LARGEST_BIAS = np.float32(2**30)  # in levels of int32: the sum of products still has room


def rewritten(model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """A copy of the stage with the same inputs and outputs.

    Args:
        model: the float32 stage.
        plan: what becomes int8.
        ranges: of each tensor of the plan, by name.
    """
    return _Rewriting(model, plan, ranges).run()


class _Rewriting:
    def __init__(self, model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, Range]) -> None:
        self._model, self._plan, self._ranges = model, plan, ranges
        self._weights = {weight.name: weight for weight in model.graph.initializer}
        self._new_weights: dict[str, onnx.TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> onnx.ModelProto:
        for old in self._model.graph.node:
            node = onnx.NodeProto()
            node.CopyFrom(old)
            if old.output and old.output[0] in self._plan.products:
                self._round_weights(node)
            self._nodes.append(node)
            for index, name in enumerate(old.output):
                if name in self._plan.tensors:
                    node.output[index] = f"{name}_float"
                    self._nodes.extend(self._rounding(name))
        copy = onnx.ModelProto()
        copy.CopyFrom(self._model)
        read = {name for node in self._nodes for name in node.input}
        kept = [weight for name, weight in self._weights.items() if name in read]
        for field, entries in (("node", self._nodes), ("initializer", [*kept, *self._new_weights.values()])):
            copy.graph.ClearField(field)
            getattr(copy.graph, field).extend(entries)
        copy.graph.ClearField("value_info")
        return copy

    def _rounding(self, name: str) -> Iterator[onnx.NodeProto]:
        """The two nodes between what makes a tensor and those who read it."""
        found = self._ranges[self._plan.tensors[name]]
        scale = self._constant(f"{self._plan.tensors[name]}_scale", np.asarray(found.scale))
        zero = self._constant(f"{self._plan.tensors[name]}_zero_point", np.asarray(found.zero_point, np.uint8))
        yield helper.make_node(
            "QuantizeLinear", [f"{name}_float", scale, zero], [f"{name}_levels"], name=f"quantize_{name}"
        )
        yield helper.make_node("DequantizeLinear", [f"{name}_levels", scale, zero], [name], name=f"dequantize_{name}")

    def _round_weights(self, node: onnx.NodeProto) -> None:
        """Let a product read rounded weights and bias, its own copies: ONNX Runtime fails to turn shared ones."""
        axis = 0 if node.op_type == "Conv" or _transposed(node) else 1
        weight = numpy_helper.to_array(self._weights[node.input[1]]).astype(np.float32)
        scales = weight_scales(weight, axis)
        if len(node.input) > 2 and node.input[2]:
            input_scale = self._ranges[self._plan.tensors[node.input[0]]].scale
            bias = numpy_helper.to_array(self._weights[node.input[2]]).astype(np.float32)
            # Weights near zero under a bias, as a norm that training switched off leaves them: coarser levels hold it.
            scales = np.maximum(scales, np.abs(bias) / (input_scale * _LARGEST_BIAS))
            levels = np.rint(bias / (input_scale * scales)).astype(np.int32)
            node.input[2] = self._dequantise(f"{node.output[0]}_bias", levels, input_scale * scales, 0)
        shape = [-1 if dim == axis else 1 for dim in range(weight.ndim)]
        levels = np.clip(np.rint(weight / scales.reshape(shape)), -_WEIGHT_LEVELS, _WEIGHT_LEVELS)
        node.input[1] = self._dequantise(f"{node.output[0]}_weight", levels.astype(np.int8), scales, axis)

    def _dequantise(
        self, name: str, levels: npt.NDArray[np.generic], scales: npt.NDArray[np.float32], axis: int
    ) -> str:
        """Constants and the node that makes floats of them; returns the name of these."""
        inputs = [
            self._constant(f"{name}_levels", levels),
            self._constant(f"{name}_scales", scales),
            self._constant(f"{name}_zero_points", np.zeros(scales.shape, levels.dtype)),
        ]
        self._nodes.append(
            helper.make_node("DequantizeLinear", inputs, [f"{name}_rounded"], name=f"dequantize_{name}", axis=axis)
        )
        return f"{name}_rounded"

    def _constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        self._new_weights[name] = numpy_helper.from_array(array, name)
        return name


def weight_scales(weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """One scale an output channel: the largest magnitude becomes 127; a channel of zeros gets a scale all the same."""
    largest = np.abs(weight).max(axis=tuple(dim for dim in range(weight.ndim) if dim != axis))
    return np.asarray(np.maximum(largest, _SMALLEST_WEIGHT) / np.float32(_WEIGHT_LEVELS), np.float32)


def _transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
