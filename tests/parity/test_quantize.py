"""The int8 trunk, calibrated on photographs: it runs in ONNX Runtime, its error is bounded, its heads are untouched."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from maskline_export.manifest import load_artifact
from maskline_export.precision.low_types import is_feature
from maskline_export.precision.quantize import MIN_IMAGES, TRUNK, trunk_convolutions
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify.images import ladder_images
from maskline_export.verify.onnx_runtime import OnnxModel
from maskline_train.data.canvas import preprocess
from onnx import numpy_helper
from PIL import Image
from skimage import data as photographs
from support.export.exported import Exported

# Root of the mean square error as a share of the signal's, on photographs that were not calibrated on. 8 bits a tensor
# whose largest value is some ten times its mean square leave 2 % a layer; 20 layers of a network that no training made
# smooth add up to at most a tenth: seen 0.13.
LARGEST_SHARE = 0.2


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    names = ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins", "moon", "page")
    assert len(names) >= MIN_IMAGES
    for name in names:
        Image.fromarray(getattr(photographs, name)()).convert("RGB").save(folder / f"{name}.jpg")
    return folder


@pytest.fixture(scope="session")
def int8(exported: Exported, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "artifact"
    lines: list[str] = []
    type_artifact(exported.dense, folder, "int8", photos, lines.append)
    assert "backbone: calibrated on 8 of 8 images" in lines
    return folder


def test_the_manifest_says_what_travels(int8: Path) -> None:
    manifest = load_artifact(int8)
    assert manifest.precision == "int8"
    features = {t.name: t.dtype for stage in manifest.stages.values() for t in (*stage.inputs, *stage.outputs)}
    assert {features[name] for name in ("p2", "p3", "p4", "p5")} == {"FP16"}
    assert features["rpn_logits_p2"] == features["boxes"] == "FP32"


def test_the_trunk_is_quantised_and_nothing_else(exported: Exported, int8: Path) -> None:
    before, after = (onnx.load(folder / "backbone.onnx") for folder in (exported.dense, int8))
    made_by = {output: node for node in after.graph.node for output in node.output}
    quantised = {node.name for node in trunk_convolutions(before)}
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    assert {node.name for node in convolutions if made_by[node.input[0]].op_type == "DequantizeLinear"} == quantised
    for node in convolutions:
        sources = [made_by[name].op_type if name in made_by else "weight" for name in node.input]
        expected = "DequantizeLinear" if node.name in quantised else "weight"
        assert sources[1] == expected, node.name
        assert sources[2:] in ([], ["weight"]), "biases stay floats"
    kinds = Counter(node.op_type for node in after.graph.node)
    assert kinds["Conv"] == Counter(node.op_type for node in before.graph.node)["Conv"]
    for stage in ("proposal", "mask"):
        ops = {node.op_type for node in onnx.load(int8 / f"{stage}.onnx").graph.node}
        assert not ops & {"QuantizeLinear", "DequantizeLinear"}
        assert load_artifact(int8).stages[stage].custom_ops == load_artifact(exported.dense).stages[stage].custom_ops


def test_scales_are_symmetric_one_a_tensor_or_one_a_channel(int8: Path) -> None:
    model = onnx.load(int8 / "backbone.onnx")
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = values[node.input[1]], values[node.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
            assert (scale > 0).all()
            weight = node.input[0].startswith(TRUNK)
            assert scale.shape == ((values[node.input[0]].shape[0],) if weight else ())
            if not weight:
                assert node.op_type == "QuantizeLinear" or node.input[0].endswith("QuantizeLinear_Output")


def test_error_on_photographs_it_was_not_calibrated_on(exported: Exported, int8: Path) -> None:
    reference, found = (OnnxModel(folder / "backbone.onnx", 1) for folder in (exported.dense, int8))
    shares: dict[str, float] = {}
    for _, pixels in ladder_images(80):  # another size than the calibration's
        canvas, info = preprocess(pixels[:, ::-1], load_artifact(int8).spec.preprocessing)  # mirrored
        tensors = {"canvas": canvas[None], "image_info": info[None]}
        expected, got = reference.run(tensors), found.run(tensors)
        for name, array in expected.items():
            wide = array.astype(np.float64)
            share = float(np.sqrt(((wide - got[name]) ** 2).mean() / (wide**2).mean()))
            shares[name] = max(shares.get(name, 0.0), share)
            assert got[name].dtype == (np.float16 if is_feature(name) else np.float32)
    assert min(shares.values()) > 0.01  # 8 bits are seen
    assert max(shares.values()) < LARGEST_SHARE, shares
