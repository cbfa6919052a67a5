"""The typed rewrite: which edges are low, where casts stand, what is refused."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest
from maskline_export.custom_ops import multiscale_roi_align as roi_align
from maskline_export.custom_ops.body import node_attributes
from maskline_export.errors import ContractError
from maskline_export.manifest import StageInfo, TensorInfo
from maskline_export.precision.low_types import BF16, FP16, LowType, typed, typed_stage
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OP = roi_align.MultiscaleRoIAlign((4, 8), 224.0, 4, 2, 2, aligned=True)


def stage(body: str, weights: dict[str, npt.ArrayLike] | None = None, signature: str = "") -> onnx.ModelProto:
    """A graph from ONNX text; weights are float32 initialisers."""
    signature = signature or "(float[B,2,H2,W2] p2) => (float[B,2,H2,W2] p3)"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> stage {signature} {{ {body} }}')
    for name, values in (weights or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
    return model


def types_of(model: onnx.ModelProto) -> dict[str, str]:
    """Element type of every tensor, as inference sees it; fails where the types do not fit together."""
    onnx.checker.check_model(model, full_check=True)
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    return {value.name: TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}


def casts(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(node.input[0], node.output[0]) for node in model.graph.node if node.op_type == "Cast"]


WEIGHT = {"w": np.ones((2, 2, 1, 1)), "b": [0.5, -0.5]}


@pytest.mark.parametrize(("low", "word"), [(FP16, "FLOAT16"), (BF16, "BFLOAT16")], ids=["fp16", "bf16"])
def test_features_stay_low_from_end_to_end(low: LowType, word: str) -> None:
    found = typed(stage("c = Conv (p2, w, b) r = Relu (c) p3 = Add (r, p2)", WEIGHT), low)
    assert casts(found) == []
    assert set(types_of(found).values()) == {word}
    assert {weight.data_type for weight in found.graph.initializer} == {low.onnx}


def test_what_is_no_feature_leaves_and_enters_as_float32() -> None:
    signature = "(float[B,2,H2,W2] canvas, float[B,2] image_info) => (float[B,2,H2,W2] rpn_logits_p2, float[B,2] same)"
    body = "c = Conv (canvas, w, b) rpn_logits_p2 = Relu (c) same = Identity (image_info)"
    found = typed(stage(body, WEIGHT, signature), FP16)
    types = types_of(found)
    assert types["canvas"] == types["image_info"] == types["rpn_logits_p2"] == types["same"] == "FLOAT"
    assert types["c"] == "FLOAT16"
    assert casts(found) == [("canvas", "canvas_fp16"), ("rpn_logits_p2_fp16", "rpn_logits_p2")]


def test_each_edge_is_cast_once() -> None:
    body = "a = Exp (p2) b1 = Conv (a, w) b2 = Conv (a, w) s = Exp (b1) t = Neg (b1) u = Mul (s, t) p3 = Add (b2, u)"
    found = typed(stage(body, WEIGHT), FP16)
    types_of(found)
    assert casts(found) == [("p2", "p2_fp32"), ("a", "a_fp16"), ("b1", "b1_fp32"), ("u", "u_fp16")]


def test_an_op_that_nobody_named_computes_in_float32() -> None:
    found = typed(stage("s = Softplus (p2) p3 = Relu (s)"), FP16)
    assert types_of(found)["s"] == "FLOAT"
    assert casts(found) == [("p2", "p2_fp32"), ("p3_fp32", "p3")]


def test_an_add_of_float32_values_stays_float32() -> None:
    found = typed(stage("s = Sigmoid (p2) a = Add (s, b) p3 = Exp (a)", {"b": [[[1.0]], [[2.0]]]}), FP16)
    assert types_of(found)["a"] == "FLOAT"


def test_a_weight_of_two_types_is_there_twice() -> None:
    body = "c = Conv (p2, w) s = Exp (c) k = Mul (s, w2) d = Add (c, w2) e = Relu (k) p3 = Add (d, e)"
    found = typed(stage(body, {"w": np.ones((2, 2, 1, 1)), "w2": np.full((1, 2, 1, 1), 0.3)}), FP16)
    types_of(found)
    kinds = {weight.name: weight.data_type for weight in found.graph.initializer}
    assert kinds == {"w_fp16": TensorProto.FLOAT16, "w2": TensorProto.FLOAT, "w2_fp16": TensorProto.FLOAT16}


def test_the_scales_of_resize_stay_float32() -> None:
    signature = "(float[B,2,H2,W2] p2) => (float[B,2,H3,W3] p3)"
    found = typed(stage('p3 = Resize <mode = "nearest"> (p2, , scales)', {"scales": [1, 1, 2, 2]}, signature), FP16)
    assert types_of(found)["p3"] == "FLOAT16"
    assert [weight.data_type for weight in found.graph.initializer] == [TensorProto.FLOAT]


def roi_stage(after: str) -> onnx.ModelProto:
    signature = "(float[B,3,4] boxes, float[B,2,H2,W2] p2, float[B,2,H3,W3] p3) => (float[N,2,2,2] out)"
    model = stage(after, {}, signature)
    node = helper.make_node(
        "MultiscaleRoIAlign", ["boxes", "p2", "p3"], ["pooled"], domain="maskline", **node_attributes(OP)
    )
    model.graph.node.insert(0, node)
    model.opset_import.append(helper.make_opsetid("maskline", 1))
    model.functions.append(roi_align.body_ort(OP))
    return model


@pytest.mark.parametrize(("low", "word"), [(FP16, "FLOAT16"), (BF16, "BFLOAT16")], ids=["fp16", "bf16"])
def test_roi_align_takes_low_features_and_float32_boxes(low: LowType, word: str) -> None:
    found = typed(roi_stage("out = Exp (pooled)"), low)
    types = types_of(found)
    assert (types["boxes"], types["p2"], types["pooled"], types["out"]) == ("FLOAT", word, word, "FLOAT")
    assert found.graph.node[0] == roi_stage("out = Exp (pooled)").graph.node[0]


def test_products_that_feed_the_nms_stay_float32() -> None:
    """The order of scores and the boxes' deltas are decided there; the node's other inputs are geometry anyway."""
    signature = "(float[N,2] p2, float[N,4] proposals) => (float[N,4] boxes)"
    model = stage("h = Gemm (p2, w) logits = Gemm (h, w)", {"w": np.eye(2)}, signature)
    model.graph.node.append(helper.make_node("ClasswiseNMS", ["logits", "proposals"], ["boxes"], domain="maskline"))
    model.opset_import.append(helper.make_opsetid("maskline", 1))
    body = [helper.make_node("Identity", ["proposals"], ["boxes"])]
    model.functions.append(
        helper.make_function(
            "maskline", "ClasswiseNMS", ["logits", "proposals"], ["boxes"], body, [helper.make_opsetid("", 20)]
        )
    )
    found = typed(model, FP16)
    types = types_of(found)
    assert (types["h"], types["logits"], types["proposals"]) == ("FLOAT16", "FLOAT", "FLOAT")
    assert casts(found) == [("h", "h_fp32")]


@pytest.mark.parametrize("value", [65520.0, -1e6, np.inf, np.nan])
def test_a_weight_beyond_the_range_is_named(value: float) -> None:
    with pytest.raises(ContractError, match=re.escape(f"weight b holds {value:g}, expected numbers within +-65504")):
        typed(stage("p3 = Conv (p2, w, b)", {**WEIGHT, "b": [1.0, value]}), FP16)


def test_bf16_has_the_range_of_float32() -> None:
    typed(stage("p3 = Conv (p2, w, b)", {**WEIGHT, "b": [3.38e38, -1e6]}), BF16)
    with pytest.raises(ContractError, match="the range of bf16"):
        typed(stage("p3 = Conv (p2, w, b)", {**WEIGHT, "b": [3.4e38, 1.0]}), BF16)


def test_a_graph_inside_a_node_is_refused() -> None:
    model = stage("p3 = Relu (p2)")
    inner = helper.make_graph([], "then", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], [], name="choice", then_branch=inner, else_branch=inner))
    with pytest.raises(ContractError, match=r"'choice' \(If\) holds a graph"):
        typed(model, FP16)


@pytest.mark.parametrize("low", [FP16, BF16], ids=["fp16", "bf16"])
def test_weights_are_rounded_to_even(low: LowType) -> None:
    step = 2.0**-10 if low is FP16 else 2.0**-7  # between 1 and 2
    values = np.array([1 + step / 2, 1 + 1.5 * step, 1 + 0.51 * step, -1 - 0.49 * step], np.float32)
    bits = low.bits(values)
    back = bits.view(np.float16) if low is FP16 else (bits.astype(np.uint32) << 16).view(np.float32)
    assert back.astype(np.float64).tolist() == [1, 1 + 2 * step, 1 + step, -1]


@pytest.mark.parametrize("low", [FP16, BF16], ids=["fp16", "bf16"])
def test_a_typed_graph_computes_the_same_but_for_rounding(low: LowType) -> None:
    """By the standard's own evaluator: a graph that crosses between the types on its way."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((3, 3)), "v": rng.standard_normal((3, 3))}
    signature = "(float[5,3] image_info) => (float[5,3] out)"
    model = stage(
        "g = Gemm (image_info, w) r = Relu (g) s = Sigmoid (r) m = MatMul (s, v) out = Neg (m)", weights, signature
    )
    feed = {"image_info": rng.standard_normal((5, 3)).astype(np.float32)}
    expected = ReferenceEvaluator(model).run(None, feed)[0]
    found = ReferenceEvaluator(typed(model, low)).run(None, feed)[0]
    # two products of three terms each, every operand and sum rounded to 11 or 8 bits
    largest = float(np.abs(expected).max())
    error = float(np.abs(expected - found).max()) / largest
    assert 0 < error < 8 * (2.0**-11 if low is FP16 else 2.0**-8)
    assert found.dtype == np.float32


def test_the_description_says_the_features_type() -> None:
    tensors = (TensorInfo("boxes", "FP32", ("B", 3, 4)), TensorInfo("p2", "FP32", ("B", 2, "H2", "W2")))
    info = StageInfo("mask.onnx", "0", {}, tensors, (TensorInfo("p3", "FP32", ()),))
    found = typed_stage(info, BF16)
    assert [(tensor.name, tensor.dtype) for tensor in (*found.inputs, *found.outputs)] == [
        ("boxes", "FP32"), ("p2", "BF16"), ("p3", "BF16")
    ]  # fmt: skip
