"""A small typed way to write FunctionProto bodies: values with operators, nodes by name, one flat function.

Only what the bodies of our ops need. A body is flat: it calls standard ops only, no function calls another, and no
node refers to an attribute of the function (`ref_attr`): NVIDIA's parser reads a forwarded attribute as zero inside a
nested function or an If branch. Attribute values are baked in as constants instead, so a function belongs to the file
whose nodes carry the same values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "maskline"
DOMAIN_VERSION = 1
OPSET = 20
PLUGIN_VERSION = "1"

FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL

Scalar = float | int
AttributeValue = int | float | str | list[int] | list[float]


@dataclasses.dataclass(frozen=True)
class Value:
    """A named tensor of a body. Operators add a node; a Python float is a float32 constant, an int an int64 one."""

    body: Body
    name: str

    def __add__(self, other: Value | Scalar) -> Value:
        return self.body.op("Add", self, other)

    def __sub__(self, other: Value | Scalar) -> Value:
        return self.body.op("Sub", self, other)

    def __mul__(self, other: Value | Scalar) -> Value:
        return self.body.op("Mul", self, other)

    def __truediv__(self, other: Value | Scalar) -> Value:
        return self.body.op("Div", self, other)

    def __floordiv__(self, other: Value | Scalar) -> Value:
        """Integer division of non-negative numbers, for which truncation (ONNX) and floor (Python) agree."""
        return self.body.op("Div", self, other)

    def __lt__(self, other: Value | Scalar) -> Value:
        return self.body.op("Less", self, other)

    def __gt__(self, other: Value | Scalar) -> Value:
        return self.body.op("Greater", self, other)

    def __le__(self, other: Value | Scalar) -> Value:
        return self.body.op("LessOrEqual", self, other)

    def __ge__(self, other: Value | Scalar) -> Value:
        return self.body.op("GreaterOrEqual", self, other)

    def __and__(self, other: Value) -> Value:
        return self.body.op("And", self, other)

    def equal(self, other: Value | Scalar) -> Value:
        """Element-wise equality, as bool."""
        return self.body.op("Equal", self, other)

    def cast(self, dtype: int) -> Value:
        """The same numbers as another TensorProto dtype."""
        return self.body.op("Cast", self, to=dtype)

    def unsqueeze(self, *axes: int) -> Value:
        """New axes of length one."""
        return self.body.op("Unsqueeze", self, self.body.ints(axes))

    def reshape(self, *dims: int | Value) -> Value:
        """Reshape; 0 keeps that axis, -1 infers it, a Value is a length given as an int64 tensor of shape [1]."""
        if all(isinstance(dim, int) for dim in dims):
            return self.body.op("Reshape", self, self.body.ints([dim for dim in dims if isinstance(dim, int)]))
        parts = [self.body.ints([dim]) if isinstance(dim, int) else dim for dim in dims]
        return self.body.op("Reshape", self, self.body.op("Concat", *parts, axis=0))

    def transpose(self, *perm: int) -> Value:
        """Axes in the order `perm`."""
        return self.body.op("Transpose", self, perm=list(perm))

    def slice(self, axis: int, start: int, stop: int) -> Value:
        """Rows start..stop-1 of one axis; the axis stays."""
        ints = self.body.ints
        return self.body.op("Slice", self, ints([start]), ints([stop]), ints([axis]))

    def column(self, index: int) -> Value:
        """Entry `index` of the last axis; the axis goes."""
        return self.body.op("Gather", self, index, axis=-1)

    def dim(self, axis: int) -> Value:
        """The length of one axis, int64 [1]."""
        return self.body.op("Shape", self, start=axis, end=axis + 1)

    def clip(self, low: Scalar, high: Value | Scalar) -> Value:
        """`min(max(x, low), high)`."""
        return self.body.op("Min", self.body.op("Max", self, low), high)


class Body:
    """The nodes of one function or of one Loop inside it."""

    def __init__(self, name: str, parent: Body | None = None) -> None:
        """Start empty.

        Args:
            name: op type of the function; it starts the name of every tensor, so that names stay unique when the
                bodies of several ops are inlined into one graph.
            parent: the body around a Loop.
        """
        self.name = name
        self.nodes: list[onnx.NodeProto] = []
        self._counter: list[int] = parent._counter if parent else [0]  # names stay unique across a function's Loops
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}

    def fresh(self, stem: str) -> str:
        """A name not used yet."""
        self._counter[0] += 1
        return f"{self.name}_{stem}_{self._counter[0]}"

    def op(self, op_type: str, *inputs: Value | Scalar | None, **attributes: Any) -> Value:
        """Add a node of a standard op with one output; None is an input left out."""
        return self.ops(1, op_type, *inputs, **attributes)[0]

    def ops(self, count: int, op_type: str, *inputs: Value | Scalar | None, **attributes: Any) -> list[Value]:
        """Add a node of a standard op with `count` outputs."""
        names = ["" if value is None else self.value(value).name for value in inputs]
        outputs = [self.fresh(op_type.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(op_type, names, outputs, **attributes))
        return [Value(self, name) for name in outputs]

    def value(self, value: Value | Scalar) -> Value:
        """A Value as it is, a Python number as a constant of rank 0."""
        if isinstance(value, Value):
            return value
        return self.constant(np.float32(value) if isinstance(value, float) else np.int64(value))

    def ints(self, values: Sequence[int]) -> Value:
        """A constant int64 vector."""
        return self.constant(np.array(values, dtype=np.int64))

    def constant(self, array: npt.NDArray[Any] | np.generic) -> Value:
        """A constant tensor; equal ones share a node."""
        array = np.asarray(array)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.op("Constant", value=numpy_helper.from_array(array))
        return self._constants[key]

    def loop(self, trips: int, state: Value, dtype: int, step: Callable[[Body, Value], tuple[Value, Value]]) -> Value:
        """Repeat `state, go_on = step(inner, state)` while `go_on` (bool, rank 0) holds, at most `trips` times."""
        inner = Body(self.name, self)
        names = [inner.fresh(stem) for stem in ("iteration", "condition", "state")]
        next_state, go_on = step(inner, Value(inner, names[2]))
        graph = helper.make_graph(
            inner.nodes,
            inner.fresh("loop"),
            [
                helper.make_tensor_value_info(names[0], INT64, []),
                helper.make_tensor_value_info(names[1], BOOL, []),
                helper.make_tensor_value_info(names[2], dtype, None),
            ],
            [
                helper.make_tensor_value_info(go_on.name, BOOL, []),
                helper.make_tensor_value_info(next_state.name, dtype, None),
            ],
        )
        return self.op("Loop", trips, self.constant(np.bool_(True)), state, body=graph)

    def function(
        self,
        inputs: Sequence[Value],
        outputs: Sequence[tuple[str, Value]],
        attributes: Sequence[str],
        doc: str,
    ) -> onnx.FunctionProto:
        """Close the body: name its outputs and return it as a function of our domain.

        Args:
            inputs: what `input` returned, in order.
            outputs: (name, value) pairs in order.
            attributes: names that every node carries; declared, never referred to (see the module's head).
            doc: what a reader of the file should know.
        """
        nodes = [*self.nodes, *(helper.make_node("Identity", [value.name], [out]) for out, value in outputs)]
        return helper.make_function(
            DOMAIN,
            self.name,
            [value.name for value in inputs],
            [out for out, _ in outputs],
            nodes,
            [helper.make_opsetid("", OPSET)],
            list(attributes),
            doc_string=doc,
        )

    def input(self, name: str) -> Value:
        """An input of the function."""
        return Value(self, name)


def node_attributes(attributes: Any) -> dict[str, AttributeValue]:
    """All attributes a node of our domain carries: the fields of `attributes` and the two that name the plugin.

    TensorRT 10.15 and later prefers a function's body to a plugin unless the node says `plugin_namespace`, and a
    plugin never sees a body's defaults; so a node says everything.

    Args:
        attributes: a frozen dataclass; tuples become lists, bools ints.
    """
    found: dict[str, AttributeValue] = {}
    for field in dataclasses.fields(attributes):
        value = getattr(attributes, field.name)
        if isinstance(value, tuple):
            value = list(value)
        found[field.name] = int(value) if isinstance(value, bool) else value
    return {**found, "plugin_namespace": DOMAIN, "plugin_version": PLUGIN_VERSION}
