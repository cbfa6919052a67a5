"""What a config.pbtxt says to the Python backend about a GPU: batch sizes, sessions, options of the provider."""

from __future__ import annotations

from typing import Any

import onnx.parser
import onnxruntime as ort
import pytest
from support.serving import model_files

batch_sizes = model_files.load("backends/onnxruntime/batch_sizes.py")
cuda_options = model_files.load("backends/onnxruntime/cuda_options.py")


def config(accelerator: dict[str, str] | None = None, **parameters: str) -> dict[str, Any]:
    """As Triton's JSON has it."""
    accelerators = [{"name": "cuda", "parameters": accelerator or {}}]
    return {
        "max_batch_size": 8,
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
        "optimization": {"execution_accelerators": {"gpu_execution_accelerator": accelerators}},
    }


def test_a_model_without_the_parameter_runs_batches_as_they_come() -> None:
    assert batch_sizes.sizes(config()) == []


@pytest.mark.parametrize("text", ["1,2,4", "8,4", "1,1,8", "0,8", "1,x,8", "1,,8", "-1,8"])
def test_sizes_that_cannot_serve_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"parameter batch_sizes: got '{text}', expected ascending numbers"):
        batch_sizes.sizes(config(batch_sizes=text))


@pytest.mark.parametrize(("given", "loads"), [({}, 1), ({"sessions": "shared"}, 1), ({"sessions": "each"}, 3)])
def test_sessions_are_shared_or_each_sizes_own(given: dict[str, str], loads: int) -> None:
    found = batch_sizes.sessions(config(batch_sizes="1, 4, 8", **given), object)
    assert list(found) == [1, 4, 8]
    assert len(set(map(id, found.values()))) == loads


def test_another_way_with_sessions_is_refused() -> None:
    with pytest.raises(ValueError, match="parameter sessions: got 'two', expected shared or each"):
        batch_sizes.sessions(config(batch_sizes="8", sessions="two"), object)


def test_options_are_those_that_the_cpp_backend_would_set() -> None:
    given = config(
        {"prefer_nhwc": "1", "use_tf32": "1", "cudnn_conv_algo_search": "DEFAULT"},
        cudnn_conv_algo_search="1", arena_extend_strategy="1", gpu_mem_limit="1000", batch_sizes="8",
    )  # fmt: skip
    assert cuda_options.options(given, 2) == {
        "prefer_nhwc": "1",
        "use_tf32": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "gpu_mem_limit": "1000",
        "device_id": "2",
    }


def test_what_the_cpp_backend_overwrites_is_left_out_here_too() -> None:
    found = cuda_options.options(config({"cudnn_conv_algo_search": "HEURISTIC", "gpu_mem_limit": "5"}), 0)
    assert found == {"use_tf32": "0", "device_id": "0"}


@pytest.mark.parametrize("value", ["3", "HEURISTIC", "-1", ""])
def test_a_search_that_there_is_not_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"cudnn_conv_algo_search: got .* expected one of 0 \(EXHAUSTIVE\), 1"):
        cuda_options.options(config(cudnn_conv_algo_search=value), 0)


def test_nodes_that_a_session_leaves_to_the_cpu_are_counted_by_op() -> None:
    backend = model_files.load("backends/onnxruntime/onnx_session.py")
    model = """<ir_version: 10, opset_import: ["" : 20]>
    two (float[B,N] x) => (float[B,N] y) {
        a = Sin (x)
        b = Cos (a)
        y = Sin (b)
    }"""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(onnx.parser.parse_model(model).SerializeToString(), options)
    assert backend.on_the_cpu(session) == "on the CPU, not the GPU: 1 Cos, 2 Sin"
