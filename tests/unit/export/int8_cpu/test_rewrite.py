"""A rewritten stage: int8 kernels run, and their answer is what integers by hand give."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from maskline_export.precision.int8_cpu.plan import plan
from maskline_export.precision.int8_cpu.ranges import Range
from maskline_export.precision.int8_cpu.rewrite import rewritten, weight_scales
from maskline_host import int8_products
from onnx import numpy_helper

# A convolution with a bias, read twice (as the RPN's is, by two levels), then a predictor.
TEXT = """<ir_version: 10, opset_import: ["" : 20]>
stage (float[1,3,H,W] x) => (float[1,2,H,W] y, float[1,4,H,W] twice) {
    a = Relu (x)
    b = Conv (a, w, bias)
    c = Relu (b)
    d = Conv (c, shared)
    twice = Conv (d, shared)
    y = Conv (twice, last)
}"""
RANGES = {name: Range(np.float32(2.0**-5), 0 if name in "ac" else 128) for name in ("a", "c", "d", "twice")}


@pytest.fixture
def model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(TEXT)
    arrays = {
        "w": rng.normal(0, 0.3, (4, 3, 1, 1)),
        "bias": np.array([0.5, -0.25, 0, 1]),
        "shared": rng.normal(0, 0.3, (4, 4, 1, 1)),
        "last": rng.normal(0, 0.3, (2, 4, 1, 1)),
    }
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return model


def session(model: onnx.ModelProto, *, optimised: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    int8_products.keep_exact(options)  # as whoever runs such a graph does; without VNNI sums saturate else
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def test_every_product_of_the_plan_runs_as_an_int8_kernel(model: onnx.ModelProto, tmp_path: Path) -> None:
    planned = plan(model)
    assert planned.products == {"b", "d", "twice"}
    changed = rewritten(model, planned, RANGES)
    onnx.checker.check_model(changed, full_check=True)
    session(changed, optimised=tmp_path / "optimised.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3
    assert kinds.count("Relu") == 0, "a range that begins at zero is one"


def test_the_answer_is_what_integers_by_hand_give(model: onnx.ModelProto) -> None:
    x = np.random.default_rng(1).uniform(-1, 6, (1, 3, 5, 7)).astype(np.float32)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def levels(values: np.ndarray, found: Range) -> np.ndarray:
        return np.clip(np.rint(values / found.scale) + found.zero_point, 0, 255).astype(np.int64)

    def product(given: np.ndarray, name: str, inside: Range, bias: np.ndarray | None = None) -> np.ndarray:
        scales = weight_scales(weights[name], 0).astype(np.float64)
        matrix = np.rint(weights[name][:, :, 0, 0] / scales[:, None]).astype(np.int64)
        sums = np.einsum("oc,bchw->bohw", matrix, given - inside.zero_point)
        if bias is not None:
            sums += np.rint(bias / (inside.scale * scales)).astype(np.int64)[:, None, None]
        return sums * (inside.scale * scales)[:, None, None]

    a = levels(np.maximum(x, 0), RANGES["a"])
    c = levels(np.maximum(product(a, "w", RANGES["a"], weights["bias"]), 0), RANGES["c"])
    d = levels(product(c, "shared", RANGES["c"]), RANGES["d"])
    twice = levels(product(d, "shared", RANGES["d"]), RANGES["twice"])
    expected = (twice - RANGES["twice"].zero_point) * RANGES["twice"].scale
    found = session(rewritten(model, plan(model), RANGES)).run(["twice"], {"x": x})[0]
    # A sum within float32's rounding of the middle between two levels may go to either, and on through `shared`.
    assert np.abs(found - expected).max() <= 2 * RANGES["twice"].scale
    assert (found == expected.astype(np.float32)).mean() > 0.95


def test_each_reader_of_a_shared_weight_has_its_own(model: onnx.ModelProto) -> None:
    """ONNX Runtime fails on shared ones where it turns int8 weights into uint8, on processors without VNNI."""
    changed = rewritten(model, plan(model), RANGES)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    found = ort.InferenceSession(changed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.ones((1, 3, 2, 2), np.float32)
    for name, array in zip(("y", "twice"), found.run(None, {"x": x}), strict=True):
        np.testing.assert_allclose(array, session(changed).run([name], {"x": x})[0], atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1e-30, 1e-9])
@pytest.mark.parametrize("input_scale", [1 / 255, 1.0, 100.0])
def test_a_bias_over_weights_near_zero_keeps_its_value(weight: float, input_scale: float) -> None:
    """As a norm that training has switched off leaves them."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        stage (float[1,2,H,W] x) => (float[1,2,H,W] y) { a = Relu (x)  y = Conv (a, w, bias)  z = Conv (y, last) }""")
    arrays = {"w": [[weight, 0], [1, 2]], "last": [[1, 0], [0, 1]]}
    for name, rows in arrays.items():
        array = np.array(rows, np.float32)[:, :, None, None]
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1000, -20], np.float32), "bias"))
    ranges = {"a": Range(np.float32(input_scale), 0), "y": Range(np.float32(1100 / 255), 5)}
    x = np.zeros((1, 2, 2, 2), np.float32)
    found = session(rewritten(model, plan(model), ranges)).run(None, {"x": x})[0]
    assert found[0, :, 0, 0] == pytest.approx([1000, -20], abs=1100 / 255)


def test_a_product_reads_columns_where_its_weights_stand_so() -> None:
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        stage (float[N,2] x) => (float[N,2] y)
        <float[2,3] w = {1, 10, 100, 2, 20, 200}, float[3,2] last = {1,0,0,1,0,0}>
        { a = Relu (x)  b = Gemm (a, w)  c = Relu (b)  y = Gemm (c, last) }""")
    ranges = {"a": Range(np.float32(1 / 64), 0), "c": Range(np.float32(1), 0)}
    changed = rewritten(model, plan(model), ranges)
    scales = next(t for t in changed.graph.initializer if t.name == "b_weight_scales")
    assert numpy_helper.to_array(scales) == pytest.approx(np.array([2, 20, 200]) / 127)
    found = session(changed).run(None, {"x": np.array([[1, 0.5]], np.float32)})[0]
    assert found[0] == pytest.approx([2, 20], abs=0.6)
