"""The little language in which op bodies are written."""

import dataclasses

import numpy as np
import onnx
import pytest
from maskline_export.custom_ops.body import FLOAT, Body, Value, node_attributes
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support.export.onnx_ops import Array, float32


def evaluate(body: Body, result: Value, **inputs: Array) -> Array:
    """The value of `result`, by onnx's own evaluator."""
    function = body.function([body.input(name) for name in inputs], [("result", result)], [], "a test")
    return ReferenceEvaluator(function).run(None, inputs, attributes={})[0]


def test_operators_and_constants() -> None:
    body = Body("Test")
    x = body.input("x")
    result = (x * 2.0 + 1.0 - x / 4.0).clip(0.0, 6.0)
    np.testing.assert_allclose(evaluate(body, result, x=float32([-4, 0, 2, 9])), [0, 1, 4.5, 6])


def test_whole_number_division_and_remainder() -> None:
    body = Body("Test")
    index = body.input("index")
    remainder = index - index // 3 * 3
    assert evaluate(body, remainder, index=np.arange(7)).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_reshape_with_a_length_known_at_run_time() -> None:
    body = Body("Test")
    x = body.input("x")
    assert evaluate(body, x.reshape(-1, x.dim(2), 2), x=float32(np.zeros((2, 4, 3)))).shape == (4, 3, 2)


def test_equal_constants_share_a_node_and_types_do_not_mix() -> None:
    body = Body("Test")
    assert body.value(2.0) is body.value(2.0)
    assert body.value(2.0).name != body.value(2).name
    assert body.ints([2]).name != body.value(2).name
    assert len(body.nodes) == 3


def test_names_are_unique_and_start_with_the_op() -> None:
    body = Body("Test")
    body.loop(
        3, body.value(1.0), FLOAT, lambda inner, state: (inner.op("Add", state, 1.0), inner.op("Less", state, 9.0))
    )
    loop = body.nodes[-1].attribute[0].g
    names = [output for node in [*body.nodes, *loop.node] for output in node.output]
    assert len(set(names)) == len(names)
    assert all(name.startswith("Test_") for name in names)


@pytest.mark.parametrize(("start", "end"), [(1.0, 8.0), (6.0, 8.0), (100.0, 101.0)])
def test_loop_stops_by_its_condition(start: float, end: float) -> None:
    body = Body("Test")

    def step(inner: Body, state: Value) -> tuple[Value, Value]:
        after = state + 1.0
        return after, inner.op("Less", after, 8.0)

    assert evaluate(body, body.loop(50, body.input("x"), FLOAT, step), x=np.float32(start)) == end


def test_loop_stops_after_its_trips() -> None:
    body = Body("Test")
    result = body.loop(5, body.input("x"), FLOAT, lambda inner, state: (state + 1.0, inner.constant(np.bool_(True))))
    assert evaluate(body, result, x=np.float32(0)) == 5


def test_node_attributes_name_the_plugin_and_keep_every_field() -> None:
    @dataclasses.dataclass(frozen=True)
    class Op:
        sizes: tuple[float, ...]
        aligned: bool
        mode: str

    attributes = node_attributes(Op((1.5, 2.0), True, "align_avg"))
    assert attributes == {
        "sizes": [1.5, 2.0],
        "aligned": 1,
        "mode": "align_avg",
        "plugin_namespace": "maskline",
        "plugin_version": "1",
    }
    node = helper.make_node("Op", [], ["y"], domain="maskline", **attributes)
    kinds = {attribute.name: attribute.type for attribute in node.attribute}
    assert kinds["aligned"] == onnx.AttributeProto.INT
    assert kinds["sizes"] == onnx.AttributeProto.FLOATS
