"""Typed artifacts against the float32 one they were made of: in ONNX Runtime, and by NVIDIA's parser and builder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from maskline_coco.matching import iou_matrix
from maskline_export.errors import ContractError, ExportError
from maskline_export.manifest import Manifest, load_artifact, sha256
from maskline_export.onnx_stages.check import describe, made_image
from maskline_export.precision.low_types import is_feature
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify.onnx_runtime import OnnxModel, Tensors
from onnx.reference import ReferenceEvaluator
from support.export.exported import Exported, typed_artifacts

# Largest error of a feature or RPN output, as a share of the largest value. Every operand and every sum of a layer is
# rounded, to 2^-11 or 2^-8 of itself; some 20 layers add up as their root: seen 1.5e-3 and, on maps of a single cell
# whose few values are small, 3.6e-2.
RELATIVE = {"fp16": 4e-3, "bf16": 6e-2}


@pytest.fixture(scope="session")
def typed_folders(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    return typed_artifacts(exported, tmp_path_factory.mktemp("typed"))


def low(tensors: Tensors) -> Tensors:
    """The same tensors with features as a typed stage takes them."""
    return {name: array.astype(np.float16) if is_feature(name) else array for name, array in tensors.items()}


def error(reference: np.ndarray, other: np.ndarray) -> float:
    """Largest difference as a share of the largest reference value."""
    wide = reference.astype(np.float64)
    return float(np.abs(wide - other.astype(np.float64)).max() / np.abs(wide).max())


@pytest.mark.parametrize("bodies", ["ort", "dense"])
@pytest.mark.parametrize(("precision", "wire"), [("fp16", "FP16"), ("bf16", "BF16")])
def test_manifest_and_files_agree(
    exported: Exported, typed_folders: dict[tuple[str, str], Path], bodies: str, precision: str, wire: str
) -> None:
    source: Manifest = load_artifact(getattr(exported, bodies))
    found = load_artifact(typed_folders[bodies, precision])
    assert found.precision == precision
    assert (found.spec, found.bodies, found.labels) == (source.spec, source.bodies, source.labels)
    for name, stage in found.stages.items():
        model = onnx.load(typed_folders[bodies, precision] / stage.file)
        assert tuple(describe(value) for value in model.graph.input) == stage.inputs
        assert tuple(describe(value) for value in model.graph.output) == stage.outputs
        before = source.stages[name]
        assert stage.custom_ops == before.custom_ops
        for old, new in zip((*before.inputs, *before.outputs), (*stage.inputs, *stage.outputs), strict=True):
            assert (new.name, new.shape) == (old.name, old.shape)
            assert new.dtype == (wire if is_feature(new.name) else old.dtype), new.name


@pytest.mark.parametrize("bodies", ["ort", "dense"])
def test_fp16_stages_give_what_float32_ones_give(
    exported: Exported, typed_folders: dict[tuple[str, str], Path], bodies: str
) -> None:
    """ONNX Runtime computes a half-precision node in float32 between casts: the roundings are all there."""
    source, folder = getattr(exported, bodies), typed_folders[bodies, "fp16"]
    tensors = made_image(2, 96, 128)
    reference, found = ({}, {})
    for stage in ("backbone", "proposal", "mask"):
        reference[stage] = OnnxModel(source / f"{stage}.onnx", 1).run(tensors)
        found[stage] = OnnxModel(folder / f"{stage}.onnx", 1).run(low(tensors))
        tensors |= reference[stage]
    for name, expected in reference["backbone"].items():
        got = found["backbone"][name]
        assert got.dtype == (np.float16 if is_feature(name) else np.float32), name
        assert 0 < error(expected, got) < RELATIVE["fp16"], name
    assert_same_detections(reference["proposal"], found["proposal"])
    # a probability moves by 2^-11 of its logit at most, and then rounds to a whole number
    masks = [side["mask"]["masks"] for side in (reference, found)]
    assert np.abs(masks[0] - masks[1]).max() <= 8e-3
    assert masks[0].any()


def assert_same_detections(reference: Tensors, found: Tensors) -> None:
    """Nearly every detection has a partner of its class, at the same place, with the same score.

    Coordinates are float32 on both sides; a box moves with its deltas, which come from rounded features. A score at
    the edge of a threshold may fall either way.
    """
    assert np.abs(reference["num_detections"] - found["num_detections"]).max() <= 2
    for image, count in enumerate(reference["num_detections"][:, 0]):
        overlaps = iou_matrix(reference["boxes"][image, :count], found["boxes"][image])
        same = reference["labels"][image, :count, None] == found["labels"][image][None]
        close = np.abs(reference["scores"][image, :count, None] - found["scores"][image][None]) < 5e-3
        assert (np.where(same & close, overlaps, 0).max(axis=1) > 0.95).mean() > 0.95


def test_bf16_backbone_by_the_standards_own_evaluator(
    exported: Exported, typed_folders: dict[tuple[str, str], Path]
) -> None:
    """ONNX Runtime has no bfloat16 convolution on a CPU; the reference evaluator has, slowly."""
    tensors = made_image(1, 32, 32)
    expected = OnnxModel(exported.dense / "backbone.onnx", 1).run(tensors)
    evaluator = ReferenceEvaluator(str(typed_folders["dense", "bf16"] / "backbone.onnx"))
    found = dict(zip(evaluator.output_names, evaluator.run(None, tensors), strict=True))
    for name, array in expected.items():
        assert str(found[name].dtype) == ("bfloat16" if is_feature(name) else "float32"), name
        assert RELATIVE["fp16"] / 4 < error(array, found[name].astype(np.float32)) < RELATIVE["bf16"], name


def test_geometry_is_float32_in_every_stage(typed_folders: dict[tuple[str, str], Path]) -> None:
    """Every float input and output of a node of our geometry, and the sigmoid of the masks."""
    for folder in typed_folders.values():
        for stage in ("backbone", "proposal", "mask"):
            model = onnx.shape_inference.infer_shapes(onnx.load(folder / f"{stage}.onnx"))
            types = {
                value.name: value.type.tensor_type.elem_type
                for value in (*model.graph.input, *model.graph.output, *model.graph.value_info)
            }
            for node in model.graph.node:
                if node.op_type in {"ProposalNMS", "ClasswiseNMS", "Sigmoid", "Mul", "Sub", "Div", "Round"}:
                    floats = {types[name] for name in (*node.input, *node.output) if name in types}
                    assert floats <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64}


def test_a_typed_artifact_is_not_typed_again(typed_folders: dict[tuple[str, str], Path], tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="got precision fp16, expected fp32"):
        type_artifact(typed_folders["dense", "fp16"], tmp_path / "out", "bf16", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("precision", "calibration", "words"),
    [
        ("int8", None, "--calibration FOLDER with at least 8"),
        ("fp16", Path("photos"), "got --calibration, which only int8 needs"),
        ("fp32", None, "the artifact is fp32 as it stands"),
        ("int8", Path("photos"), "photos: got 0 images"),
    ],
)
def test_requests_that_make_no_sense(
    exported: Exported, tmp_path: Path, precision: str, calibration: Path | None, words: str
) -> None:
    with pytest.raises(ContractError, match=words):
        type_artifact(exported.dense, tmp_path / "out", precision, calibration)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_folders_are_left_alone(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="exists and is not an artifact folder"):
        type_artifact(exported.dense, tmp_path, "fp16", None)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_features_beyond_fp16_are_found_before_the_artifact_appears(exported: Exported, tmp_path: Path) -> None:
    """Weights that fit whose sums do not: the run on made images gives infinities."""
    folder = Path(shutil.copytree(exported.dense, tmp_path / "artifact"))
    model = onnx.load(folder / "backbone.onnx")
    for weight in model.graph.initializer:
        if weight.name in ("backbone.fpn.lateral.0.weight", "backbone.fpn.output.0.weight"):
            large = np.full_like(onnx.numpy_helper.to_array(weight), 1e4)
            weight.CopyFrom(onnx.numpy_helper.from_array(large, weight.name))
    onnx.save(model, folder / "backbone.onnx")
    manifest = (folder / "manifest.json").read_text()
    old = load_artifact(exported.dense).stages["backbone"].sha256
    (folder / "manifest.json").write_text(manifest.replace(old, sha256(folder / "backbone.onnx")))
    with pytest.raises(ContractError, match=r"output p2: got values that are not finite.*use --precision bf16"):
        type_artifact(folder, tmp_path / "out", "fp16", None)
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]
