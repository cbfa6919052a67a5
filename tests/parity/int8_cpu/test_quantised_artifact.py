"""`maskline-export quantize` on the tiny model: the contract stays, the error is bounded, nothing is half done."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from maskline_export.cli import app
from maskline_export.errors import ContractError
from maskline_export.manifest import Manifest, load_artifact
from maskline_export.precision.int8_cpu import artifact as module
from maskline_export.precision.int8_cpu.artifact import quantise_artifact
from maskline_export.precision.int8_cpu.price import Found, Price, compare, count_found
from maskline_export.precision.low_types import is_feature
from maskline_export.precision.quantize import calibration_files, canvases
from maskline_export.precision.to_typed import check_request
from maskline_export.verify.images import ladder_images
from maskline_export.verify.onnx_runtime import OnnxModel
from maskline_train.data.canvas import preprocess
from PIL import Image
from skimage import data as photographs
from support.data.shapes_data import write_shapes
from support.export.exported import Exported
from typer.testing import CliRunner

# Root of the mean square error as a share of the signal's on photographs that were not calibrated on: 8 bits leave 1 to
# 2 % a layer, and some 20 layers of a network that no training made smooth add up to at most a fifth (the trunk of
# test_quantize.py, likewise; seen 0.13). The RPN's outputs are small differences of large sums of these: twice that.
LARGEST_SHARE = 0.2


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "coffee", "chelsea", "rocket", "camera", "coins", "moon", "page"):
        Image.fromarray(getattr(photographs, name)()).convert("RGB").save(folder / f"{name}.jpg")
    return folder


@dataclasses.dataclass(frozen=True)
class Made:
    folder: Path
    manifest: Manifest
    price: Price
    lines: list[str]


@pytest.fixture(scope="module")
def made(exported: Exported, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("int8") / "artifact"
    lines: list[str] = []
    # A network of this size may well be no faster in int8.
    manifest, price = quantise_artifact(exported.ort, folder, photos, allow_slower=True, report=lines.append)
    return Made(folder, manifest, price, lines)


def test_everything_but_precision_and_files_is_as_it_was(exported: Exported, made: Made) -> None:
    before, after = load_artifact(exported.ort), load_artifact(made.folder)
    assert after == made.manifest
    assert after.precision == "int8-cpu"
    unhashed = {
        name: dataclasses.replace(stage, sha256=before.stages[name].sha256) for name, stage in after.stages.items()
    }
    assert dataclasses.replace(after, precision="fp32", stages=unhashed) == before
    assert "calibrated on 8 of 8 images" in made.lines


def test_trunk_and_heads_are_int8_and_predictors_float(exported: Exported, made: Made) -> None:
    for stage, predictors in (
        ("backbone", {"rpn_head.logits.weight", "rpn_head.deltas.weight"}),
        ("proposal", {"box_head.class_logits.weight", "box_head.box_deltas.weight"}),
        ("mask", set()),
    ):
        graph = onnx.load(made.folder / f"{stage}.onnx").graph
        products = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
        plain = {node.input[1] for node in products if not node.input[1].endswith("_rounded")}
        assert plain == predictors, stage
        assert len(products) > len(plain), stage


def test_error_on_photographs_it_was_not_calibrated_on(exported: Exported, made: Made) -> None:
    reference, found = (OnnxModel(folder / "backbone.onnx", 1) for folder in (exported.ort, made.folder))
    shares: dict[str, float] = {}
    for _, pixels in ladder_images(80):
        canvas, info = preprocess(pixels[:, ::-1], made.manifest.spec.preprocessing)
        tensors = {"canvas": canvas[None], "image_info": info[None]}
        expected, got = reference.run(tensors), found.run(tensors)
        for name, array in expected.items():
            wide = array.astype(np.float64)
            share = float(np.sqrt(((wide - got[name]) ** 2).mean() / (wide**2).mean()))
            shares[name] = max(shares.get(name, 0.0), share)
    assert min(shares.values()) > 0.001  # 8 bits are seen
    assert max(share for name, share in shares.items() if is_feature(name)) < LARGEST_SHARE, shares
    assert max(shares.values()) < 2 * LARGEST_SHARE, shares


def test_an_artifact_has_all_of_what_itself_finds(exported: Exported, photos: Path) -> None:
    images = list(canvases(calibration_files(photos), load_artifact(exported.ort).spec.preprocessing))[:2]
    found = compare(exported.ort, exported.ort, images, None).to_dict()
    assert found["images"] == 2
    assert set(found["median_s"]["int8"]) == {"backbone", "proposal", "mask"}
    for entry in found["detections"].values():
        assert entry["counted"] > 0
        assert entry["matched"] == entry["median_mask_iou"] == 1


def test_a_detection_counts_for_both_sides_and_needs_its_class() -> None:
    boxes = np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]], np.float32)
    masks = np.zeros((1, 2, 4, 4), np.float32)
    masks[0, 1, :2] = 1
    one = {"boxes": boxes, "labels": np.array([[0, 1]], np.int32), "scores": np.array([[0.9, 0.4]], np.float32),
           "num_detections": np.array([[2]], np.int32), "masks": masks}  # fmt: skip
    other = {**one, "labels": np.array([[0, 2]], np.int32), "scores": np.array([[0.3, 0.2]], np.float32)}
    found = Found()
    count_found(found, one, other, 0.5)
    assert (found.detections, found.matched, found.mask_ious) == (1, 1, [1.0]), "two empty masks are the same"
    count_found(found, one, other, 0.05)
    assert (found.detections, found.matched) == (3, 2)
    count_found(found, other, one, 0.25)
    assert (found.detections, found.matched) == (4, 3)
    assert found.share == 0.75


def test_a_head_that_saw_too_few_detections_stays_float32(
    exported: Exported, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_DETECTIONS", 10**6)
    lines: list[str] = []
    quantise_artifact(exported.ort, tmp_path / "out", photos, allow_slower=True, report=lines.append)
    assert any(line.startswith("mask: stays float32: got ") and "give more images" in line for line in lines)
    before, after = (onnx.load(folder / "mask.onnx") for folder in (exported.ort, tmp_path / "out"))
    assert after == before


def test_what_is_not_faster_is_refused_and_nothing_is_left(
    exported: Exported, made: Made, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {side: {"backbone": [2.0], "proposal": [1.0], "mask": [1.0]} for side in ("float32", "int8")}
    slow = dataclasses.replace(made.price, seconds=seconds)
    monkeypatch.setattr(module, "compare", lambda *args: slow)
    with pytest.raises(ContractError, match=r"got 1\.00 times the speed of float32 .* --allow-slower"):
        quantise_artifact(exported.ort, tmp_path / "out", photos)
    assert not list(tmp_path.iterdir())


def test_int8_is_made_of_float32_and_no_engine_of_it(exported: Exported, made: Made, photos: Path) -> None:
    with pytest.raises(ContractError, match="got precision int8-cpu, expected fp32, to be quantised"):
        quantise_artifact(made.folder, made.folder.with_name("again"), photos)
    with pytest.raises(ContractError, match="got the float32 artifact as the folder to write"):
        quantise_artifact(exported.ort, exported.ort, photos)
    with pytest.raises(ContractError, match="got precision int8-cpu, expected fp32, to be typed as int8"):
        check_request(made.manifest, "int8", photos)


def test_the_command_prints_what_it_brings_and_costs(exported: Exported, photos: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "data", {"val": 2})
    words = ["quantize", exported.ort, tmp_path / "out", "--calibration", photos, "--allow-slower"]
    words += ["--data", tmp_path / "data", "--json", tmp_path / "price.json"]
    done = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    for word in ("int8-cpu", "times", "Medians of 8 images", "median mask IoU", "float32 mask", "int8 mask", "AP50"):
        assert word in done.output
    found = json.loads((tmp_path / "price.json").read_text())
    assert found["images"] == 8
    assert set(found["ap"]) == {"float32", "int8"}
