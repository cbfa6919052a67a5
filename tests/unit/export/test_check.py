"""The checks that stand between an exported file and its name."""

from pathlib import Path

import onnx
import pytest
from maskline_export.custom_ops import multiscale_roi_align as roi_align
from maskline_export.custom_ops.body import DOMAIN, OPSET, node_attributes
from maskline_export.errors import ContractError
from maskline_export.manifest import StageInfo, TensorInfo
from maskline_export.onnx_stages import check
from onnx import TensorProto, helper

OP = roi_align.MultiscaleRoIAlign((4, 8), 224.0, 4, 7, 2, aligned=True)
INFO = StageInfo(
    "stage.onnx",
    "0" * 64,
    {"MultiscaleRoIAlign": 1},
    (
        TensorInfo("boxes", "FP32", ("B", 5, 4)),
        TensorInfo("p2", "FP32", ("B", 8, "H2", "W2")),
        TensorInfo("p3", "FP32", ("B", 8, "H3", "W3")),
    ),
    (TensorInfo("pooled", "FP32", ("N", 8, 7, 7)),),
)


def stage() -> onnx.ModelProto:
    """A good stage of one node."""
    values = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in side]
        for side in (INFO.inputs, INFO.outputs)
    ]
    node = helper.make_node(
        "MultiscaleRoIAlign", [t.name for t in INFO.inputs], ["pooled"], domain=DOMAIN, **node_attributes(OP)
    )
    return helper.make_model(
        helper.make_graph([node], "stage", *values),
        functions=[roi_align.body_ort(OP)],
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)],
        ir_version=10,
    )


def verdict(model: onnx.ModelProto, folder: Path) -> str:
    """What `check_stage` says; empty for a good file."""
    onnx.save(model, folder / "stage.onnx")
    try:
        check.check_stage(folder / "stage.onnx", INFO)
    except ContractError as error:
        return str(error)
    return ""


def test_a_good_stage_passes(tmp_path: Path) -> None:
    assert verdict(stage(), tmp_path) == ""
    assert check.custom_ops(stage()) == {"MultiscaleRoIAlign": 1}


def test_a_missing_attribute(tmp_path: Path) -> None:
    model = stage()
    kept = [attribute for attribute in model.graph.node[0].attribute if attribute.name != "plugin_namespace"]
    del model.graph.node[0].attribute[:]
    model.graph.node[0].attribute.extend(kept)
    assert "plugin_namespace" in verdict(model, tmp_path)


def test_a_missing_body(tmp_path: Path) -> None:
    model = stage()
    del model.functions[:]
    assert "MultiscaleRoIAlign" in verdict(model, tmp_path)


@pytest.mark.parametrize("field", ["name", "dtype", "shape"])
def test_a_tensor_that_is_not_the_contracts(field: str, tmp_path: Path) -> None:
    model = stage()
    value = model.graph.input[1]
    if field == "name":
        value.name = model.graph.node[0].input[1] = "x307"
    elif field == "dtype":
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    else:
        value.type.tensor_type.shape.dim[1].dim_value = 9
    found = verdict(model, tmp_path)
    assert "stage.onnx" in found
    assert {"name": "x307", "dtype": "type", "shape": "9"}[field] in found


def test_a_file_that_the_checker_refuses(tmp_path: Path) -> None:
    model = stage()
    model.graph.node[0].input[0] = "nowhere"
    assert "onnx.checker refuses it" in verdict(model, tmp_path)
