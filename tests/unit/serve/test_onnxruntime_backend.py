"""The Python-based onnxruntime backend: settings, contract check and joint runs, on real ONNX Runtime sessions.

tests/serve runs the same code inside the real Triton server.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest
from support.export import external_files
from support.serving import model_files

backend = model_files.load("backends/onnxruntime/onnx_session.py")

# Divides an image by its divisor; `root` needs the two to agree in width, so that a wrong pair fails at run time.
MODEL = """<ir_version: 10, opset_import: ["" : 20]>
divide (int32[B,W] image, int32[B,N] divisor) => (int32[B,W] quotient, float[B,W] real) {
    quotient = Div (image, divisor)
    real = Cast <to = 1> (quotient)
}"""


def tensor(name: str, data_type: str, *dims: int) -> dict[str, Any]:
    """One input or output as Triton's JSON has it, where dims are strings."""
    return {"name": name, "data_type": data_type, "dims": [str(dim) for dim in dims]}


def config(**parameters: str) -> dict[str, Any]:
    return {
        "name": "divide",
        "input": [tensor("image", "TYPE_INT32", -1), tensor("divisor", "TYPE_INT32", -1)],
        "output": [tensor("quotient", "TYPE_INT32", -1), tensor("real", "TYPE_FP32", -1)],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("divide") / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), path)
    return path


@pytest.fixture(scope="module")
def session(file: Path) -> ort.InferenceSession:
    return backend.load(file, config(intra_op_thread_count="1"))


def feed(batch: int, width: int = 3, divisor: int = 2, divisor_width: int | None = None) -> dict[str, np.ndarray]:
    image = np.arange(batch * width, dtype=np.int32).reshape(batch, width) + 100 * batch
    return {"image": image, "divisor": np.full((batch, divisor_width or width), divisor, np.int32)}


class CountedSession:
    """A real session that also remembers the batch sizes it ran."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session, self.batches = session, []

    def run(self, outputs: Any, feeds: Any) -> Any:
        self.batches.append(len(feeds["image"]))
        return self.session.run(outputs, feeds)


def test_requests_of_equal_shape_run_as_one_batch_and_come_back_apart(session: ort.InferenceSession) -> None:
    counted = CountedSession(session)
    feeds = [feed(1), feed(3), feed(2)]
    answers = backend.run_joined(counted, ["real", "quotient"], feeds)
    assert counted.batches == [6]
    for given, (real, quotient) in zip(feeds, answers, strict=True):
        np.testing.assert_array_equal(quotient, given["image"] // 2)
        np.testing.assert_array_equal(real, given["image"] // 2)
        assert (real.dtype, quotient.dtype) == (np.float32, np.int32)


def test_requests_of_other_shapes_run_apart_and_keep_their_order(session: ort.InferenceSession) -> None:
    counted = CountedSession(session)
    feeds = [feed(1, 3), feed(1, 4), feed(2, 3), feed(1, 4)]
    answers = backend.run_joined(counted, ["quotient"], feeds)
    assert counted.batches == [3, 2]
    for given, (quotient,) in zip(feeds, answers, strict=True):
        np.testing.assert_array_equal(quotient, given["image"] // 2)


def test_a_single_request_is_not_copied(session: ort.InferenceSession) -> None:
    class Watch(CountedSession):
        def run(self, outputs: Any, feeds: Any) -> Any:
            self.got = feeds
            return super().run(outputs, feeds)

    watch, given = Watch(session), feed(2)
    backend.run_joined(watch, ["quotient"], [given])
    assert all(np.shares_memory(watch.got[name], given[name]) for name in given)


def test_a_request_that_fails_fails_alone(session: ort.InferenceSession) -> None:
    # Widths 3 and 2 cannot be broadcast; all three have the same shapes but for the second's divisor.
    answers = backend.run_joined(session, ["quotient"], [feed(1), feed(1, divisor_width=2), feed(2)])
    assert isinstance(answers[1], Exception)
    np.testing.assert_array_equal(answers[0][0], feed(1)["image"] // 2)
    np.testing.assert_array_equal(answers[2][0], feed(2)["image"] // 2)


def test_a_joint_run_that_fails_is_repeated_one_by_one() -> None:
    # Gather refuses an index beyond the table, so one request of the joint batch makes the whole run fail.
    text = """<ir_version: 10, opset_import: ["" : 20]>
    look_up (int64[B,N] index) => (float[B,N] value) {
        table = Constant <value = float[2] {5.0, 6.0}> ()
        value = Gather (table, index)
    }"""
    session = ort.InferenceSession(onnx.parser.parse_model(text).SerializeToString())
    feeds = [{"index": np.array([[i]], np.int64)} for i in (0, 7, 1)]
    answers = backend.run_joined(session, ["value"], feeds)
    assert answers[0][0].tolist() == [[5.0]]
    assert isinstance(answers[1], Exception)
    assert answers[2][0].tolist() == [[6.0]]


def test_settings_are_read_under_the_names_of_the_cpp_backend() -> None:
    given = config(
        intra_op_thread_count="3",
        inter_op_thread_count="2",
        execution_mode="1",
        enable_mem_pattern="0",
        enable_mem_arena="0",
    )
    given["optimization"] = {"graph": {"level": 1}}
    options = backend.session_options(given)
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 2
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert not options.enable_mem_pattern
    assert not options.enable_cpu_mem_arena
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


def test_without_settings_onnx_runtime_chooses() -> None:
    options = backend.session_options(config())
    assert options.intra_op_num_threads == 0
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.enable_mem_pattern
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.mark.parametrize("text", ["all", "1.5", "-1", str(2**31), "8" * 40])
def test_a_setting_that_is_no_count_is_named(file: Path, text: str) -> None:
    said = f"parameter intra_op_thread_count: got '{text}', expected a whole number"
    with pytest.raises(ValueError, match=re.escape(said)):
        backend.load(file, config(intra_op_thread_count=text))


@pytest.mark.parametrize(
    ("kind", "entry", "text"),
    [
        ("input", tensor("picture", "TYPE_INT32", -1), "input picture is not in the model, which has image, divisor"),
        ("input", tensor("image", "TYPE_INT32", -1), "input divisor is not in the config"),
        ("output", tensor("quotient", "TYPE_FP32", -1), r"quotient: got tensor\(int32\), expected tensor\(float\)"),
        ("output", tensor("quotient", "TYPE_INT32", -1, 4), r"quotient: got shape \['W'\], expected \[-1, 4\]"),
    ],
)
def test_a_config_that_does_not_fit_the_model_fails_the_load_by_name(
    file: Path, kind: str, entry: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        backend.load(file, {**config(), kind: [entry]})


def test_fixed_sizes_must_agree() -> None:
    class Value:
        name, type, shape = "p2", "tensor(float)", ["B", 256, "H", "W"]

    assert backend.mismatches("input", [tensor("p2", "TYPE_FP32", 256, -1, -1)], [Value()]) == []
    problems = backend.mismatches("input", [tensor("p2", "TYPE_FP32", 64, -1, -1)], [Value()])
    assert problems == ["input p2: got shape [256, 'H', 'W'], expected [64, -1, -1]"]


def test_data_in_another_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(external_files.model("initializer", "w.bin"), path)
    with pytest.raises(ValueError, match="got the tensor 'w' with its data in another file"):
        backend.load(path, config())


@pytest.mark.parametrize(("content", "text"), [(None, "is missing"), (b"not ONNX", "not ONNX"), (b"", "empty file")])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=text):
        backend.load(path, config())
