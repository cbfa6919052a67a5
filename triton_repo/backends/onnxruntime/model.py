"""Triton's `onnxruntime` backend written in Python: the same config.pbtxt as the C++ one, on any machine.

Reads `<model>/<version>/model.onnx` (or `default_model_filename`) and the C++ backend's own keys for threads,
execution mode, memory and graph optimisation. Requests of one batch that agree in shape run as one.
Ref: https://github.com/triton-inference-server/onnxruntime_backend (README, "Model Config Options").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

_ONNX_TYPES = {
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
}
# optimization { graph { level } } as the C++ backend reads it; anything else, and none: all.
_GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel:
    """What Triton's Python backend calls, for each model that says `backend: "onnxruntime"`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model and compare it with its config.pbtxt; what does not fit fails the load by name."""
        config = json.loads(args["model_config"])
        name = args["model_name"]
        file = Path(args["model_repository"]) / args["model_version"]
        file /= config.get("default_model_filename") or "model.onnx"
        if not file.is_file():
            raise pb_utils.TritonModelException(f"{name}: {file} is missing; assemble the repository anew")
        try:
            self._session = ort.InferenceSession(file, session_options(config), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
            raise pb_utils.TritonModelException(f"{name}: ONNX Runtime cannot load {file}: {error}") from error
        problems = [
            *mismatches("input", config["input"], self._session.get_inputs()),
            *mismatches("output", config["output"], self._session.get_outputs()),
        ]
        if problems:
            raise pb_utils.TritonModelException(f"{name}: config.pbtxt does not fit {file.name}: {'; '.join(problems)}")
        self._name = name
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._outputs = [output["name"] for output in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run requests of equal shapes together; a failing run fails only the requests that were in it."""
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        responses: list[Any] = [None] * len(requests)
        for group in groups_of_equal_shape(feeds):
            for index, response in zip(group, self._run([feeds[i] for i in group]), strict=True):
                responses[index] = response
        return responses

    def _run(self, feeds: Sequence[dict[str, Any]]) -> list[Any]:
        """One response a feed; when a joint run fails, each is run by itself, so that the culprit alone fails."""
        joint = feeds[0] if len(feeds) == 1 else {n: np.concatenate([f[n] for f in feeds]) for n in self._inputs}
        try:
            outputs = self._session.run(self._outputs, joint)
        except Exception as error:  # see initialize
            if len(feeds) > 1:
                return [response for feed in feeds for response in self._run([feed])]
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{self._name}: {error}"))]
        sizes = [len(feed[self._inputs[0]]) for feed in feeds]
        ends = np.cumsum(sizes)
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor(n, o[end - size : end]) for n, o in zip(self._outputs, outputs, strict=True)]
            )
            for size, end in zip(sizes, ends, strict=True)
        ]


def session_options(config: dict[str, Any]) -> ort.SessionOptions:
    """Session options from the keys of config.pbtxt that the C++ backend knows.

    Raises:
        pb_utils.TritonModelException: a value that is no whole number.
    """
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}

    def number(key: str, default: int) -> int:
        try:
            return int(parameters.get(key, default))
        except ValueError:
            raise pb_utils.TritonModelException(
                f"{config['name']}: parameter {key}: got {parameters[key]!r}, expected a whole number"
            ) from None

    options = ort.SessionOptions()
    options.intra_op_num_threads = number("intra_op_thread_count", 0)
    options.inter_op_num_threads = number("inter_op_thread_count", 0)
    if number("execution_mode", 0) == 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = number("enable_mem_arena", 1) != 0
    options.enable_mem_pattern = number("enable_mem_pattern", 1) != 0
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = _GRAPH_LEVELS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    return options


def mismatches(kind: str, configured: Sequence[dict[str, Any]], found: Sequence[Any]) -> list[str]:
    """What differs between the tensors of config.pbtxt and those of the model: names, types and sizes.

    Args:
        kind: "input" or "output", for the texts. A model may have outputs that the config leaves out.
        configured: entries of config.pbtxt; their dims are without the batch dimension.
        found: what ONNX Runtime says of the model, batch dimension first.
    """
    by_name = {value.name: value for value in found}
    names = {entry["name"] for entry in configured}
    problems = [f"{kind} {name} is not in the config" for name in by_name if kind == "input" and name not in names]
    for entry in configured:
        value = by_name.get(entry["name"])
        if value is None:
            problems.append(f"{kind} {entry['name']} is not in the model, which has {', '.join(by_name)}")
            continue
        expected = _ONNX_TYPES.get(entry["data_type"], entry["data_type"])
        if value.type != expected:
            problems.append(f"{kind} {entry['name']}: got {value.type}, expected {expected}")
        dims = [int(dim) for dim in entry["dims"]]
        if not _fits(dims, value.shape[1:]):
            problems.append(f"{kind} {entry['name']}: got shape {value.shape[1:]}, expected {dims}")
    return problems


def _fits(dims: Sequence[int], shape: Sequence[int | str | None]) -> bool:
    """Equal rank, and equal sizes wherever both are fixed."""
    return len(dims) == len(shape) and all(
        dim < 0 or not isinstance(size, int) or dim == size for dim, size in zip(dims, shape, strict=True)
    )


def groups_of_equal_shape(feeds: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Indices of the feeds that can be joined along the batch dimension, first come first."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for index, feed in enumerate(feeds):
        groups.setdefault(tuple(array.shape[1:] for array in feed.values()), []).append(index)
    return list(groups.values())
