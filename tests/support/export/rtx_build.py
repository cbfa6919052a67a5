"""Parses and builds one exported stage with TensorRT for RTX, for an SM89 GPU that need not be there.

A program of its own, since a parser or builder that does not like a network may abort the process:
`python rtx_build.py STAGE.onnx` prints one JSON object.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from typing import Any

import tensorrt_rtx as trt
from maskline_export.onnx_stages.stage_io import sizes

# Smallest, usual and largest (batch, height, width) of the optimisation profile.
PROFILE = ((1, 64, 64), (1, 96, 128), (2, 128, 160))


def symbols(name: str) -> dict[int, str]:
    """Axis -> symbol of the dynamic axes of an input."""
    if name == "canvas":
        return {0: "B", 1: "H", 2: "W"}
    level = re.fullmatch(r"(?:rpn_\w+_)?p([2-6])", name)
    return {0: "B", 2: f"H{level[1]}", 3: f"W{level[1]}"} if level else {0: "B"}


def shape(tensor: Any, case: tuple[int, int, int]) -> tuple[int, ...]:
    """The tensor's shape for one (batch, height, width)."""
    found, names = sizes(*case), symbols(tensor.name)
    return tuple(found[names[axis]] if axis in names else size for axis, size in enumerate(tensor.shape))


def build(path: str) -> dict[str, Any]:
    """What parsing and building gave: `parsed`, `errors` (op names), `layers` (type -> count), `engine_bytes`."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(path)
    errors = [parser.get_error(index).node_operator() for index in range(parser.num_errors)]
    layers = Counter(str(network.get_layer(i).type).rpartition(".")[2] for i in range(network.num_layers))
    result = {"parsed": parsed, "errors": errors, "layers": dict(layers), "engine_bytes": 0, "outputs": {}}
    if not parsed:
        return result
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    result["outputs"] = {t.name: [str(t.dtype).rpartition(".")[2], list(t.shape)] for t in outputs}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        profile.set_shape(tensor.name, *(shape(tensor, case) for case in PROFILE))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    result["engine_bytes"] = 0 if engine is None else engine.nbytes
    return result


if __name__ == "__main__":
    sys.stdout.write(json.dumps(build(sys.argv[1])) + "\n")
