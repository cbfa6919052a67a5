"""Which nodes become int8 and which tensors are rounded, by graphs a person can read."""

import onnx
import onnx.parser
from maskline_export.precision.int8_cpu.plan import Plan, plan


def planned(body: str, weights: str, inputs: str = "float[1,C,H,W] x", outputs: str = "float[1,C,H,W] y") -> Plan:
    text = f'<ir_version: 10, opset_import: ["" : 20]> stage ({inputs}) => ({outputs}) <{weights}> {{ {body} }}'
    return plan(onnx.parser.parse_model(text))


W = ", ".join(f"float[2,2,1,1] {name} = {{1,0,0,1}}" for name in ("w1", "w2", "w3", "w4"))


def test_a_residual_block_is_rounded_behind_its_relus() -> None:
    found = planned(
        """a = Relu (x)  b = Conv (a, w1)  c = Relu (b)  d = Conv (c, w2)  e = Add (d, a)  f = Relu (e)
           g = Conv (f, w3)  y = Conv (g, w4)""",
        W,
    )
    assert found.products == {"b", "d", "g"}, "the last one is a predictor"
    assert found.tensors == {name: name for name in ("a", "c", "d", "f", "g")}, "not b and e: their ReLU's outcome is"


def test_a_sum_is_carried_only_where_both_sides_are_rounded() -> None:
    carried = "b = Conv (a, w1)  c = Conv (a, w2)  s = Add (b, c)  d = Conv (s, w3)  y = Conv (d, w4)"
    found = planned(f"a = Relu (x)  {carried}", W)
    assert list(found.tensors) == ["a", "b", "c", "s", "d"]
    mixed = "b = Conv (a, w1)  c = Exp (a)  s = Add (b, c)  d = Conv (s, w3)  y = Conv (d, w4)"
    found = planned(f"a = Relu (x)  {mixed}", W)
    assert list(found.tensors) == ["a", "b", "s", "d"]
    assert "c" not in found.tensors, "the sum is float32, and rounded because a convolution reads it"


def test_what_only_chooses_keeps_the_range_of_what_it_reads() -> None:
    found = planned(
        """a = Relu (x)  b = Conv (a, w1)  c = MaxPool <kernel_shape = [2, 2]> (b)  d = Conv (c, w2)
           e = Resize <mode = "nearest"> (d, , scales)  f = Conv (e, w3)  y = Conv (f, w4)""",
        W + ", float[4] scales = {1,1,2,2}",
    )
    assert found.tensors == {"a": "a", "b": "b", "c": "b", "d": "d", "e": "d", "f": "f"}


def test_a_resize_between_values_is_not_carried() -> None:
    found = planned(
        """a = Relu (x)  b = Conv (a, w1)  e = Resize <mode = "linear"> (b, , scales)  f = Conv (e, w3)
           y = Conv (f, w4)""",
        W + ", float[4] scales = {1,1,2,2}",
    )
    assert found.tensors == {"a": "a", "b": "b", "e": "e", "f": "f"}, "e has a range of its own"


def test_predictors_and_what_reads_the_graphs_inputs_stay() -> None:
    found = planned("a = Conv (x, w1)  b = Relu (a)  c = Conv (b, w2)  y = Conv (c, w3)  z = Conv (c, w4)", W,
                    outputs="float[1,C,H,W] y, float[1,C,H,W] z")  # fmt: skip
    assert found.products == {"c"}


def test_a_weight_that_is_computed_is_no_weight() -> None:
    found = planned("a = Relu (x)  v = Exp (w1)  b = Conv (a, v)  y = Conv (b, w2)", W)
    assert found == Plan(frozenset(), {})


def test_an_outcome_that_others_read_too_is_rounded_before_its_relu() -> None:
    found = planned(
        "a = Relu (x)  b = Conv (a, w1)  c = Relu (b)  d = Exp (b)  y = Conv (c, w2)",
        W,
        outputs="float[1,C,H,W] y, float[1,C,H,W] d",
    )
    assert list(found.tensors) == ["a", "b"]


def test_what_leads_to_a_transposed_convolution_is_no_predictor() -> None:
    """The last of a keypoint head's eight convolutions."""
    found = planned("a = Relu (x)  b = Conv (a, w1)  c = Relu (b)  y = ConvTranspose (c, w2)", W)
    assert found.products == {"b"}
    assert list(found.tensors) == ["a", "c"]
