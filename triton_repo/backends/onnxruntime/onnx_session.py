"""ONNX Runtime as Triton's `onnxruntime` backend runs it: settings from config.pbtxt, joint runs of several requests.

Ref: https://github.com/triton-inference-server/onnxruntime_backend (README, "Model Config Options").
"""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from external_data import refuse_external_data

# Before the import: since 1.29 it sends usage data unless told not to. Here too, for a server that others start.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import cuda_options
import custom_ops
import int8_products
import onnxruntime as ort

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_LARGEST_COUNT = 2**31 - 1  # an int in ONNX Runtime
Arrays = dict[str, npt.NDArray[Any]]
_Input = TypeVar("_Input")
_Answer = TypeVar("_Answer")
Session = ort.InferenceSession  # for whoever may not load the package by itself: telemetry, above

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


def load(
    file: Path, config: dict[str, Any], say: Callable[[str], None] = lambda line: None, card: int = 0
) -> ort.InferenceSession:
    """A session for `file` with the settings of config.pbtxt (as Triton's JSON), compared with its tensors.

    Args:
        file: the model.
        config: its config.pbtxt.
        say: called with a line about what runs the ops of ours, where the model has some, and what a GPU leaves out.
        card: number of the GPU, where the config asks for one.

    Raises:
        ValueError: no such file, one with data in others, one that ONNX Runtime refuses, or one that differs from the
            config in a name, type or size; the text names each difference.
    """
    if not file.is_file():
        raise ValueError(f"{file} is missing; assemble the repository anew")
    refuse_external_data(file)
    options = session_options(config)
    if on_gpu(config):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")  # for on_the_cpu
    if line := custom_ops.register(options, config):
        say(line)
    wanted = providers(config, card)
    try:
        session = ort.InferenceSession(file, options, providers=wanted)
    except Exception as error:  # ONNX Runtime's own exceptions share no base class below Exception
        raise ValueError(f"ONNX Runtime cannot load {file}: {error}") from error
    if on_gpu(config) and CUDA not in session.get_providers():  # it takes the CPU where CUDA's libraries do not load
        raise ValueError(
            f"{file}: ONNX Runtime cannot use CUDA here, its log says why; use a GPU's machine, or the CPU"
        )
    problems = [
        *mismatches("input", config["input"], session.get_inputs()),
        *mismatches("output", config["output"], session.get_outputs()),
    ]
    if problems:
        raise ValueError(f"config.pbtxt does not fit {file}: {'; '.join(problems)}; assemble the repository anew")
    return session


def on_the_cpu(session: ort.InferenceSession) -> str | None:
    """Which nodes a session on a GPU leaves to the CPU, in one line; None where it leaves none."""
    assigned = session.get_provider_graph_assignment_info()
    ops = collections.Counter(node.op_type for part in assigned if part.ep_name == CPU for node in part.get_nodes())
    listed = ", ".join(f"{count} {name}" for name, count in sorted(ops.items()))
    return f"on the CPU, not the GPU: {listed}" if ops else None


def on_gpu(config: dict[str, Any]) -> bool:
    """Whether the instances of a model are to be on a GPU."""
    return any(group.get("kind") == "KIND_GPU" for group in config.get("instance_group", []))


def providers(config: dict[str, Any], card: int = 0) -> list[Any]:
    """What a session computes on, as `instance_group` says, on that card; what CUDA does not have is left to the CPU.

    Raises:
        ValueError: a GPU is asked for, and this build of ONNX Runtime knows none.
    """
    if not on_gpu(config):
        return [CPU]
    if CUDA not in ort.get_available_providers():
        raise ValueError(
            f"instance_group KIND_GPU: got an ONNX Runtime with {', '.join(ort.get_available_providers())}, expected "
            f"{CUDA}; install `maskline[gpu]`, whose package is onnxruntime-gpu, in place of onnxruntime"
        )
    ort.preload_dlls()  # CUDA's libraries out of the packages that `maskline[gpu]` brings
    return [(CUDA, cuda_options.options(config, card)), CPU]


def run_joined(
    session: ort.InferenceSession, outputs: Sequence[str], feeds: Sequence[Arrays]
) -> list[list[npt.NDArray[Any]] | Exception]:
    """`together` in memory of the host.

    Args:
        session: its tensors have the batch dimension first.
        outputs: which outputs, in the order wanted.
        feeds: the inputs of each request by name.

    Returns:
        For each request its outputs, or the exception of its run.
    """
    return together(feeds, lambda group: _run_group(session, outputs, group))


def together(
    feeds: Sequence[Mapping[str, _Input]], run: Callable[[list[Mapping[str, _Input]]], list[_Answer]]
) -> list[_Answer | Exception]:
    """Run several requests, those of equal shape as one batch.

    Args:
        feeds: the inputs of each request by name.
        run: runs some of equal shape as one batch; an answer for each.

    Returns:
        For each request its answer, or the exception of its run. When a joint run fails, each of its requests is run
        by itself, so that only the culprit fails.
    """
    answers: dict[int, _Answer | Exception] = {}
    for group in groups_of_equal_shape(feeds):
        found = _joint_or_each([feeds[i] for i in group], run)
        answers.update(zip(group, found, strict=True))
    return [answers[index] for index in range(len(feeds))]


def _joint_or_each(
    feeds: list[Mapping[str, _Input]], run: Callable[[list[Mapping[str, _Input]]], list[_Answer]]
) -> Sequence[_Answer | Exception]:
    """The answers of one joint run; if it fails, of a run of each."""
    try:
        return run(feeds)
    except Exception as error:  # see load
        if len(feeds) == 1:
            return [error]
        return [answer for feed in feeds for answer in _joint_or_each([feed], run)]


def _run_group(
    session: ort.InferenceSession, outputs: Sequence[str], feeds: Sequence[Mapping[str, npt.NDArray[Any]]]
) -> list[list[npt.NDArray[Any]]]:
    """One joint run, split again; a single request is passed on without a copy."""
    joint = feeds[0] if len(feeds) == 1 else {name: np.concatenate([f[name] for f in feeds]) for name in feeds[0]}
    results = session.run(outputs, joint)
    ends = np.cumsum([len(next(iter(feed.values()))) for feed in feeds])[:-1]
    return [list(parts) for parts in zip(*(np.split(result, ends) for result in results), strict=True)]


def session_options(config: dict[str, Any]) -> ort.SessionOptions:
    """Session options from the keys of config.pbtxt that the C++ backend knows.

    Raises:
        ValueError: a value that is no such number.
    """
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}

    def count(key: str, default: int) -> int:
        text = parameters.get(key) or str(default)
        if not re.fullmatch(r"\s*[+-]?[0-9]+", text) or not 0 <= int(text) <= _LARGEST_COUNT:
            raise ValueError(
                f"config.pbtxt: parameter {key}: got {text!r}, expected a whole number from 0 to {_LARGEST_COUNT}"
            )
        return int(text)

    options = ort.SessionOptions()
    int8_products.keep_exact(options)
    options.intra_op_num_threads = count("intra_op_thread_count", 0)
    options.inter_op_num_threads = count("inter_op_thread_count", 0)
    if count("execution_mode", 0) == 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = count("enable_mem_arena", 1) != 0
    options.enable_mem_pattern = count("enable_mem_pattern", 1) != 0
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    # A session's threads else spin after each run, on the cores that the next step wants: half of these were lost.
    options.add_session_config_entry("session.force_spinning_stop", "1")
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


def groups_of_equal_shape(feeds: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Indices of the feeds that can be joined along the batch dimension, first come first."""
    groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for index, feed in enumerate(feeds):
        groups.setdefault(tuple(array.shape[1:] for array in feed.values()), []).append(index)
    return list(groups.values())
