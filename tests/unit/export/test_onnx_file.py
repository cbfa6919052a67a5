"""An ONNX file with data in other files is refused by every reader of the exporter, before it is loaded."""

from __future__ import annotations

import ast
from pathlib import Path

import maskline_export
import onnx
import pytest
from maskline_export.errors import ContractError
from maskline_export.manifest import LabelsInfo, Manifest, StageInfo, TensorInfo, sha256
from maskline_export.onnx_file import load_onnx
from maskline_export.onnx_stages import check
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify.onnx_runtime import OnnxModel
from support.export import external_files
from support.models.tiny import tiny_spec

REFUSED = r"got the tensor 'w' with its data in another file, expected all data in this one; export it again"
VALUES = ((TensorInfo("x", "FP32", (3,)),), (TensorInfo("y", "FP32", (3,)),))


def saved(folder: Path, place: str = "sparse initializer", location: str = "../w.bin") -> Path:
    path = folder / "mask.onnx"
    path.write_bytes(external_files.model(place, location).SerializeToString())
    return path


def info(path: Path) -> StageInfo:
    return StageInfo(path.name, sha256(path), {}, *VALUES)


@pytest.mark.parametrize("place", external_files.PLACES)
def test_data_in_another_file_are_refused_wherever_they_are_named(tmp_path: Path, place: str) -> None:
    with pytest.raises(ContractError, match=f"mask.onnx: {REFUSED}"):
        load_onnx(saved(tmp_path, place))


@pytest.mark.parametrize("field", ["data_location", "external_data"])
def test_each_of_the_two_fields_alone_is_refused(tmp_path: Path, field: str) -> None:
    model = external_files.model("initializer", "w.bin")
    model.graph.initializer[0].ClearField(field)
    path = tmp_path / "mask.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ContractError, match=REFUSED):
        load_onnx(path)


def test_data_inside_are_fine_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "mask.onnx"
    onnx.save(external_files.inside(), path)
    assert load_onnx(path) == external_files.inside()


def test_a_file_that_is_not_onnx_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mask.onnx"
    path.write_bytes(b"not onnx")
    with pytest.raises(
        ContractError, match=r"mask.onnx: got a file that is not ONNX \(.*\); export it again"
    ) as caught:
        load_onnx(path)
    assert "\n" not in str(caught.value)


def test_check_refuses(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(ContractError, match=REFUSED):
        check.check_stage(path, info(path))
    with pytest.raises(ContractError, match=REFUSED):
        check.run_stages(tmp_path, {"mask": info(path)}, 32)


def test_the_runtime_refuses(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=REFUSED):
        OnnxModel(saved(tmp_path))


def test_typing_refuses_an_artifact_whose_hashes_are_right(tmp_path: Path) -> None:
    """Whoever made the artifact wrote its manifest too."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "labels.txt").write_text("circle\nsquare\nstar\n", encoding="utf-8")
    labels = LabelsInfo("labels.txt", sha256(folder / "labels.txt"))
    stages = {"mask": info(saved(folder))}
    Manifest("0.1.0", tiny_spec(), "dense", "fp32", 20, {}, "0" * 64, labels, stages).save(folder)
    with pytest.raises(ContractError, match=REFUSED):
        type_artifact(folder, tmp_path / "out", "fp16", None)
    assert not (tmp_path / "out").exists()


def test_no_other_file_of_the_exporter_reads_onnx_itself() -> None:
    """`onnx.load`, a session or a parser of a path would read what `load_onnx` refuses."""
    root = Path(maskline_export.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            by_path = called.endswith("InferenceSession") and not ast.unparse(node.args[0]).endswith("ToString()")
            if by_path or called in {"onnx.load", "onnx.load_model"} or called.endswith("parse_from_file"):
                found.append(f"{path.name}: {called}")
    assert found == ["onnx_file.py: onnx.load"]
