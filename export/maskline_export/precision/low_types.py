"""Typed stages: the float32 graphs of an artifact rewritten to fp16 or bf16, with all geometry left in float32.

A strongly typed TensorRT network computes in the types that the file states, so the precision is part of the graph.
Convolutions and matrix products of trunk and heads, what lies between them, and the features p2 to p5 that travel from
stage to stage become low; everything else stays float32: normalisation and validity mask of the canvas, the RPN's
outputs, boxes, scores, ProposalNMS and ClasswiseNMS with the products that feed them, and the sigmoid of the masks.
A rounded logit would only change an order; a rounded coordinate moves a box by pixels.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from maskline_export.custom_ops import classwise_nms, proposal_nms
from maskline_export.custom_ops.body import DOMAIN, OPSET
from maskline_export.errors import ContractError
from maskline_export.manifest import Precision, StageInfo, TensorInfo

_FEATURE = re.compile(r"[pc]\d")  # p2 to p5, or the one level that a network without a pyramid has: c4, c5
# Low whatever they read. GatherND picks a class's weights for the product they enter; DequantizeLinear gives a
# convolution its operands.
_LOW_OPS = frozenset({"Conv", "DequantizeLinear", "Gemm", "GatherND", "MatMul"})
# Low where a float input is low already: nothing is rounded that was not rounded before, but for the sums.
_FOLLOWING_OPS = frozenset(
    {"Add", "MaxPool", "QuantizeLinear", "Relu", "Reshape", "Resize", "Squeeze", "Transpose", "Unsqueeze"}
)
# Inputs that stay float32 although their node is low: sizes, not data.
_SIZES = {"Resize": (1, 2)}
# Ops that take boxes and scores only, as float32; the others take features too.
_GEOMETRY = frozenset({proposal_nms.NAME, classwise_nms.NAME})


@dataclasses.dataclass(frozen=True)
class LowType:
    """A 16-bit float type.

    Attributes:
        precision: its name on our command line.
        wire: its name on Triton's wire.
        onnx: its TensorProto number.
        opset: the first one, from ours on, whose convolution and pooling take it; nothing else changes up to there.
        largest: its largest number.
        bits: float32 to the 16 bits, rounded to even.
    """

    precision: Precision
    wire: str
    onnx: int
    opset: int
    largest: float
    bits: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.uint16]]


def _float16_bits(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    return array.astype(np.float16).view(np.uint16)


def _bfloat16_bits(array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded: npt.NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


FP16 = LowType("fp16", "FP16", TensorProto.FLOAT16, OPSET, 65504.0, _float16_bits)
BF16 = LowType("bf16", "BF16", TensorProto.BFLOAT16, 22, 3.3895313892515355e38, _bfloat16_bits)
# What the parts of an artifact that are not float32 are made of; int8 is for the trunk's convolutions alone.
LOW_TYPES: dict[Precision, LowType] = {"fp16": FP16, "bf16": BF16, "int8": FP16}


def is_feature(name: str) -> bool:
    """Whether a tensor of a stage is a feature map that travels to the heads, by its name on the wire."""
    return _FEATURE.fullmatch(name) is not None


def typed_stage(info: StageInfo, low: LowType) -> StageInfo:
    """The description of a stage once its features travel in the low type."""

    def typed(tensors: tuple[TensorInfo, ...]) -> tuple[TensorInfo, ...]:
        return tuple(
            dataclasses.replace(tensor, dtype=low.wire) if is_feature(tensor.name) else tensor for tensor in tensors
        )

    return dataclasses.replace(info, inputs=typed(info.inputs), outputs=typed(info.outputs))


def typed(model: onnx.ModelProto, low: LowType) -> onnx.ModelProto:
    """A copy of a stage that computes in the low type where this module's head says so.

    A Cast stands only where a type changes, one for each tensor and type.

    Raises:
        ContractError: a weight is beyond the low type's range or not finite (name and value in the text), or a node
            holds a graph of its own, which is not looked into.
    """
    return _Typing(model, low).run()


class _Typing:
    """One rewrite. Names of the new graph are those of the old one, but for casts and low twins of weights."""

    def __init__(self, model: onnx.ModelProto, low: LowType) -> None:
        self._model, self._low = model, low
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        values = [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]
        self._types: dict[str, int] = {value.name: value.type.tensor_type.elem_type for value in values}
        self._weights = {weight.name: weight for weight in model.graph.initializer}
        self._types |= {name: weight.data_type for name, weight in self._weights.items()}
        self._names: dict[tuple[str, int], str] = {}  # (tensor of the old graph, type) -> tensor of the new one
        self._nodes: list[onnx.NodeProto] = []
        self._new_weights: dict[str, onnx.TensorProto] = {}
        self._outputs = {value.name for value in model.graph.output}
        self._boxed = _geometry_inputs(model.graph)

    def run(self) -> onnx.ModelProto:
        """Rewrite node by node, in the order of the graph, which is topological."""
        for value in self._model.graph.input:
            if self._types[value.name] == TensorProto.FLOAT:
                self._names[value.name, self._wanted(value.name)] = value.name
        for node in self._model.graph.node:
            self._rewrite(node)
        copy = onnx.ModelProto()
        copy.CopyFrom(self._model)
        for field, entries in (("node", self._nodes), ("initializer", self._new_weights.values())):
            copy.graph.ClearField(field)
            getattr(copy.graph, field).extend(entries)
        copy.graph.ClearField("value_info")
        for value in (*copy.graph.input, *copy.graph.output):
            if is_feature(value.name):
                value.type.tensor_type.elem_type = self._low.onnx
        for holder in (copy, *copy.functions):
            for entry in holder.opset_import:
                if entry.domain == "":
                    entry.version = self._low.opset
        return copy

    def _wanted(self, name: str) -> int:
        """The type of an input or output of the graph that is float32 in the old one."""
        return self._low.onnx if is_feature(name) else TensorProto.FLOAT

    def _rewrite(self, old: onnx.NodeProto) -> None:
        if any(attribute.HasField("g") for attribute in old.attribute):
            raise ContractError(
                f"graph {self._model.graph.name!r}: node {old.name!r} ({old.op_type}) holds a graph of its own, "
                "expected none outside the bodies of our ops; export the checkpoint again"
            )
        node = onnx.NodeProto()
        node.CopyFrom(old)
        low = self._is_low(old)
        for index, name in enumerate(old.input):
            if name and self._types[name] == TensorProto.FLOAT:
                node.input[index] = self._read(name, self._low.onnx if low(index) else TensorProto.FLOAT)
            elif name in self._weights:
                self._new_weights[name] = self._weights[name]
        self._nodes.append(node)
        made = self._low.onnx if low(-1) else TensorProto.FLOAT
        for index, name in enumerate(old.output):
            if self._types[name] == TensorProto.FLOAT:
                node.output[index] = self._write(name, made)

    def _is_low(self, node: onnx.NodeProto) -> Callable[[int], bool]:
        """Says whether input `index` of a node is low; -1 stands for its float outputs."""
        if node.domain == DOMAIN:
            return lambda index: node.op_type not in _GEOMETRY and index != 0  # the boxes of MultiscaleRoIAlign
        following = node.op_type in _FOLLOWING_OPS and any((name, self._low.onnx) in self._names for name in node.input)
        low = following or (node.op_type in _LOW_OPS and not self._boxed & set(node.output))
        return lambda index: low and index not in _SIZES.get(node.op_type, ())

    def _read(self, name: str, dtype: int) -> str:
        """The new graph's name of a tensor in this type; made on first use."""
        if (name, dtype) not in self._names:
            if name in self._weights:
                self._names[name, dtype] = self._weight(name, dtype)
            else:
                other = next(key for key in self._names if key[0] == name)
                self._cast(self._names[other], f"{name}_{_word(dtype)}", dtype)
                self._names[name, dtype] = f"{name}_{_word(dtype)}"
        return self._names[name, dtype]

    def _write(self, name: str, dtype: int) -> str:
        """The new name of a node's output; an output of the graph keeps its name for the type it must have."""
        if name not in self._outputs or dtype == self._wanted(name):
            self._names[name, dtype] = name
            return name
        self._names[name, dtype] = f"{name}_{_word(dtype)}"
        self._cast(self._names[name, dtype], name, self._wanted(name))
        self._names[name, self._wanted(name)] = name
        return self._names[name, dtype]

    def _cast(self, source: str, target: str, dtype: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=dtype))

    def _weight(self, name: str, dtype: int) -> str:
        if dtype == TensorProto.FLOAT:
            self._new_weights[name] = self._weights[name]
            return name
        array = numpy_helper.to_array(self._weights[name]).astype(np.float32)
        new = f"{name}_{self._low.precision}"
        self._new_weights[new] = TensorProto(
            name=new, dims=array.shape, data_type=dtype, raw_data=self._rounded(name, array).tobytes()
        )
        return new

    def _rounded(self, name: str, array: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
        outside = array[~(np.abs(array) <= self._low.largest)]
        if outside.size:
            raise ContractError(
                f"{self._model.graph.name}.onnx: weight {name} holds {outside[0]:g}, expected numbers within "
                f"+-{self._low.largest:g}, the range of {self._low.precision}; use another --precision"
            )
        return self._low.bits(array)


def _geometry_inputs(graph: onnx.GraphProto) -> set[str]:
    """Tensors that an op of geometry reads, and what they are computed of, back to the products, which are not low."""
    found: set[str] = set()
    for node in reversed(graph.node):  # in topological order
        ours = node.domain == DOMAIN
        if (ours and node.op_type in _GEOMETRY) or (
            not ours and node.op_type not in _LOW_OPS and found & set(node.output)
        ):
            found |= set(node.input)
    return found


def _word(dtype: int) -> str:
    words: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    return words[dtype]
