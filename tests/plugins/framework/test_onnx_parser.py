"""NVIDIA's own ONNX parser (TensorRT for RTX) makes our plugins of our nodes, with the attributes they carry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import device
import onnx
import play_tensorrt
import pytest
from maskline_export.custom_ops.body import node_attributes
from maskline_export.custom_ops.classwise_nms import ClasswiseNMS
from maskline_export.custom_ops.multiscale_roi_align import MultiscaleRoIAlign
from maskline_export.custom_ops.proposal_nms import ProposalNMS
from onnx import helper

# NVIDIA's parser makes the plugin, then ends the process: networks of TensorRT for RTX take no plugins.
PARSE = """
import sys
import tensorrt_rtx as trt

logger = trt.Logger(trt.Logger.VERBOSE)
builder = trt.Builder(logger)
assert trt.get_plugin_registry().load_library(sys.argv[1]) is not None
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
trt.OnnxParser(network, logger).parse_from_file(sys.argv[2])
"""

NODES = {
    "MultiscaleRoIAlign": (
        node_attributes(MultiscaleRoIAlign((4, 8), 224.0, 4, 7, 2, True, "align_max")),
        ["float:B,5,4", "float:B,16,8,8", "float:B,16,4,4"],
    ),
    "ProposalNMS": (
        node_attributes(ProposalNMS((4,), (32.0,), (0.5, 1.0), True, 0.5, 100, 50, 0.7, 1.0)),
        ["float:B,6", "float:B,2,8,8", "float:B,8,8,8"],
    ),
    "ClasswiseNMS": (
        node_attributes(ClasswiseNMS(3, 0.05, 0.5, 10, (10.0, 10.0, 5.0, 5.0), 0.0)),
        ["float:N,4", "float:N,12", "float:B,5,4", "int32:B", "float:B,6"],
    ),
    "MaskRLE": (
        {"max_counts": 256, "paste": "detectron", "plugin_namespace": "maskline", "plugin_version": "1"},
        ["float:B,10,28,28", "float:B,10,4", "int32:B,1", "float:B,6"],
    ),
}


def parse(op: str, attributes: dict[str, Any], inputs: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """Write an ONNX file with one node and hand it to NVIDIA's parser with our library loaded."""
    types = {"float": onnx.TensorProto.FLOAT, "int32": onnx.TensorProto.INT32}
    values = []
    for index, text in enumerate(inputs):
        kind, shape = text.split(":")
        lengths = [int(length) if length.isdigit() else length for length in shape.split(",")]
        values.append(helper.make_tensor_value_info(f"input_{index}", types[kind], lengths))
    node = helper.make_node(
        op, [value.name for value in values], ["output"], "the_node", domain="maskline", **attributes
    )
    output = helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, None)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("maskline", 1)]
    graph = helper.make_graph([node], "graph", values, [output])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    command = [sys.executable, "-c", PARSE, device.built(play_tensorrt.TRT), path]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("op", NODES)
def test_nvidias_parser_makes_the_plugin_of_a_node(op: str, tmp_path: Path) -> None:
    attributes, inputs = NODES[op]
    finished = parse(op, attributes, inputs, tmp_path / "node.onnx")
    said = finished.stdout + finished.stderr
    assert f"Successfully created plugin: {op}" in said
    assert "maskline: createPlugin" not in said


@pytest.mark.parametrize(
    ("op", "changed", "text"),
    [
        ("MultiscaleRoIAlign", {"pooled_side": 1000}, "pooled_side: got 1000, expected 1..64"),  # int
        ("MultiscaleRoIAlign", {"strides": [4, 12]}, "strides[1]: got 12, expected a power of two"),  # ints
        ("MultiscaleRoIAlign", {"canonical_size": -1.5}, "canonical_size: got -1.500000, expected"),  # float
        ("MultiscaleRoIAlign", {"mode": "avg"}, 'mode: got "avg", expected one of align_avg'),  # string
        ("ProposalNMS", {"aspect_ratios": [0.5, -2.0]}, "aspect_ratios: got -2.000000, expected"),  # floats
        ("ClasswiseNMS", {"nms_thresh": 1}, "field nms_thresh: got int32[1], expected float32"),  # a type too narrow
        ("MaskRLE", {"max_counts": None}, "field max_counts: missing, expected one int"),
        ("MaskRLE", {"paste": None}, "field paste: missing, expected a string"),
        ("MaskRLE", {"paste": "torch"}, 'paste: got "torch", expected aligned or detectron'),
    ],
)
def test_nvidias_parser_hands_over_what_a_node_carries(
    op: str, changed: dict[str, Any], text: str, tmp_path: Path
) -> None:
    attributes, inputs = NODES[op]
    kept = {name: value for name, value in {**attributes, **changed}.items() if value is not None}
    finished = parse(op, kept, inputs, tmp_path / "node.onnx")
    said = finished.stdout + finished.stderr
    assert f"maskline: createPlugin: {op}: {text}" in said
    assert "(layer the_node)" in said
    assert "Successfully created plugin" not in said
