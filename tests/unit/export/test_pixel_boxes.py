"""What verify and the typed stages do where boxes are first and last pixels."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from maskline_export.onnx_stages.to_onnx import _name_ops
from maskline_export.precision.low_types import _geometry_inputs
from maskline_export.verify.compare import with_sides
from maskline_export.verify.engines import compare_engines
from maskline_export.verify.probes import pooled_features
from onnx import helper

DOMAIN = "maskline"


def graph(*nodes: tuple[str, list[str], str, str]) -> onnx.ModelProto:
    """A graph of nodes: op, inputs, output, domain."""
    made = [helper.make_node(op, inputs, [output], domain=domain) for op, inputs, output, domain in nodes]
    return helper.make_model(helper.make_graph(made, "proposal", [], []))


def pooling(levels: int) -> list[tuple[str, list[str], str, str]]:
    """A RoIAlign a level, and the sums that a head reads."""
    aligns = [("MultiscaleRoIAlign", [f"b{i}", f"p{i}"], f"r{i}", DOMAIN) for i in range(levels)]
    names = ["r0", *(f"s{i}" for i in range(1, levels))]
    return aligns + [("Add", [names[i - 1], f"r{i}"], names[i], "") for i in range(1, levels)]


def test_rows_of_padding_get_no_sides() -> None:
    boxes, labels = np.array([[[7, 3, 7, 3], [0, 0, 0, 0]]], np.float32), np.array([[2, -1]])
    assert with_sides(boxes, labels).tolist() == [[[7, 3, 8, 4], [0, 0, 0, 0]]]


def test_engines_are_compared_on_boxes_of_one_pixel_too() -> None:
    answer = {
        "boxes": np.array([[[7, 3, 7, 3], [10, 10, 30, 30], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0.8, 0]], np.float32),
        "labels": np.array([[0, 0, -1]], np.int32),
        "num_detections": np.array([[2]], np.int32),
    }

    def matched(pixel_boxes: bool) -> float:
        rows = compare_engines(["proposal"], lambda *_: answer, lambda *_: answer, [{}], "fp16", pixel_boxes)
        return next(row.matched for row in rows if row.stage == "detections")

    assert (matched(True), matched(False)) == (1.0, 0.5)


@pytest.mark.parametrize("levels", [1, 4])
def test_what_a_head_pools_is_found_whatever_the_number_of_nodes(levels: int) -> None:
    head = [("Add", [f"s{levels - 1}" if levels > 1 else "r0", "bias"], "hidden", "")]
    assert pooled_features(graph(*pooling(levels), *head)) == (f"s{levels - 1}" if levels > 1 else "r0")


def test_each_node_of_an_op_has_a_name_of_its_own() -> None:
    model = graph(*pooling(3))
    _name_ops(model.graph)
    assert [node.name for node in model.graph.node if node.domain == DOMAIN] == [
        "MultiscaleRoIAlign",
        "MultiscaleRoIAlign_2",
        "MultiscaleRoIAlign_3",
    ]


def test_products_that_feed_the_geometry_stay_float32_through_what_lies_between() -> None:
    model = graph(
        ("Gemm", ["hidden", "weight"], "raw", ""),
        ("Reshape", ["raw", "shape"], "by_class", ""),
        ("Mul", ["by_class", "sides"], "moved", ""),
        ("ClasswiseNMS", ["logits", "moved", "proposals"], "boxes", DOMAIN),
        ("Gemm", ["boxes", "other"], "beside", ""),
    )
    found = _geometry_inputs(model.graph)
    assert {"raw", "by_class", "moved", "logits"} <= found
    assert not {"hidden", "weight", "beside", "other"} & found  # what is low ends at the product
