"""What NVIDIA's parser and ONNX Runtime get silently wrong: each exported file is free of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from maskline_export.custom_ops.body import DOMAIN, node_attributes
from maskline_export.manifest import load_artifact
from maskline_export.onnx_stages.twins import classwise_nms_op, proposal_nms_op, roi_align_op
from onnx import helper, numpy_helper
from support.export.exported import Exported

STAGES = ("backbone", "proposal", "mask")
FILES = [(bodies, stage) for bodies in ("ort", "dense") for stage in STAGES]
EXPECTED_OPS = {
    "backbone": {},
    "proposal": {"ClasswiseNMS": 1, "MultiscaleRoIAlign": 1, "ProposalNMS": 1},
    "mask": {"MultiscaleRoIAlign": 1},
}
MAX_TENSORRT_TOPK = 3840


def path_of(exported: Exported, bodies: str, stage: str) -> Path:
    folder: Path = getattr(exported, bodies)
    return folder / f"{stage}.onnx"


@pytest.fixture(params=FILES, ids="-".join)
def model(request: pytest.FixtureRequest, exported: Exported) -> onnx.ModelProto:
    return onnx.load(path_of(exported, *request.param))


def all_nodes(nodes: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(list(attribute.g.node))


def function_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for function in model.functions:
        yield from all_nodes(list(function.node))


def test_opset_and_ir_version(model: onnx.ModelProto) -> None:
    ours = [(DOMAIN, 1)] if model.graph.name != "backbone" else []
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20), *ours]
    assert model.ir_version == 10


@pytest.mark.parametrize("bodies", ["ort", "dense"])
def test_nodes_carry_every_attribute_with_the_values_of_the_spec(exported: Exported, bodies: str) -> None:
    """TensorRT passes a plugin the node's attributes only, and without plugin_namespace it prefers the body."""
    spec = exported.model.spec
    expected = {
        "proposal": [
            proposal_nms_op(spec),
            roi_align_op(spec, spec.box_head.pooled_side),
            classwise_nms_op(spec),
        ],
        "mask": [roi_align_op(spec, spec.mask_head.pooled_side)],
    }
    for stage, ops in expected.items():
        nodes = [n for n in onnx.load(path_of(exported, bodies, stage)).graph.node if n.domain == DOMAIN]
        assert [node.op_type for node in nodes] == [type(op).__name__ for op in ops]
        for node, op in zip(nodes, ops, strict=True):
            found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            assert (found.pop("plugin_namespace"), found.pop("plugin_version")) == (b"maskline", b"1")
            assert set(found) == {field.name for field in dataclasses.fields(op)}
            for name, value in found.items():
                wanted = node_attributes(op)[name]
                value = value.decode() if isinstance(value, bytes) else value
                assert value == (pytest.approx(wanted, rel=1e-6) if not isinstance(wanted, str) else wanted), name


def test_manifest_counts_the_nodes(exported: Exported) -> None:
    for folder in (exported.ort, exported.dense):
        assert {name: stage.custom_ops for name, stage in load_artifact(folder).stages.items()} == EXPECTED_OPS


def test_bodies_are_flat(model: onnx.ModelProto) -> None:
    """An attribute that is forwarded to a nested function reads as 0."""
    assert {node.domain for node in function_nodes(model)} <= {""}


def test_bodies_refer_to_no_attribute(model: onnx.ModelProto) -> None:
    """A ref_attr inside an If branch reads as 0; none anywhere is simpler to keep true."""
    assert not [a for node in function_nodes(model) for a in node.attribute if a.ref_attr_name]
    assert "If" not in {node.op_type for node in function_nodes(model)}


def test_no_function_is_named_like_a_standard_op(model: onnx.ModelProto) -> None:
    """An op named like a standard one is imported as the standard one."""
    standard = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    assert not {function.name for function in model.functions} & standard
    assert {(f.domain, f.name) for f in model.functions} == {
        (n.domain, n.op_type) for n in model.graph.node if n.domain == DOMAIN
    }


@pytest.mark.parametrize("stage", STAGES)
def test_dense_files_have_static_shapes_and_need_no_plugin(exported: Exported, stage: str) -> None:
    """RoiAlign makes TensorRT create its own plugin; NonZero and NonMaxSuppression give data-dependent lengths."""
    model = onnx.load(path_of(exported, "dense", stage))
    nodes = [*all_nodes(list(model.graph.node)), *function_nodes(model)]
    assert not {"RoiAlign", "NonMaxSuppression", "NonZero", "Unique", "Compress"} & {node.op_type for node in nodes}
    constants = {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in nodes if n.op_type == "Constant"}
    sizes = [int(constants[node.input[1]][0]) for node in nodes if node.op_type == "TopK"]
    assert all(size <= MAX_TENSORRT_TOPK for size in sizes)
    assert bool(sizes) == (stage == "proposal")


def test_norms_are_folded_into_convolutions(exported: Exported) -> None:
    """Every convolution reads its weight and bias straight from the file: no scaling is left to run time."""
    graph = onnx.load(path_of(exported, "ort", "backbone")).graph
    stored = {tensor.name for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 20 + 8 + 15  # ResNet-18, the pyramid, the head on five levels
    assert all(set(node.input[1:]) <= stored for node in convolutions)
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    # the normalisation of the canvas has the only products: Sub, Div, and Mul by the validity mask
    assert [node.op_type for node in graph.node].count("Mul") == 1


def test_uint8_is_met_only_at_the_edge(exported: Exported) -> None:
    """TensorRT takes uint8 as an input of a network, nowhere inside."""
    backbone = onnx.load(path_of(exported, "dense", "backbone")).graph
    readers = [n.op_type for n in backbone.node if "canvas" in n.input and n.op_type != "Shape"]
    assert readers == ["Cast"]


@pytest.mark.parametrize(("bodies", "stage"), FILES)
def test_files_say_nothing_of_the_exporting_machine(exported: Exported, bodies: str, stage: str) -> None:
    content = path_of(exported, bodies, stage).read_bytes()
    assert b"site-packages" not in content
    assert str(Path.home()).encode() + b"/" not in content
    assert str(Path(__file__).parents[2]).encode() not in content
