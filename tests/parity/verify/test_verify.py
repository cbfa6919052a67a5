"""`verify` agrees with an honest artifact, and names the guilty stage of a spoiled one."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from maskline_coco.matching import match_boxes
from maskline_export.cli import main
from maskline_export.errors import ContractError, ParityError
from maskline_export.manifest import PARITY_FILE, Manifest, load_artifact
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.verify.command import run
from maskline_export.verify.compare import StageRow, pasted_error
from maskline_export.verify.comparison import compare
from maskline_export.verify.images import ladder_images
from maskline_export.verify.lines.choose import Asked
from maskline_export.verify.lines.found import Picture
from maskline_export.verify.lines.onnx_line import OnnxLine
from maskline_train.checkpoint import load_model, save_model
from onnx import numpy_helper
from pycocotools import mask as coco_mask
from support.data.shapes_data import write_shapes
from support.export.exported import decided_tiny_model
from support.export.kept_traces import kept_traces
from support.models.tiny import tiny_model
from support.processes.in_process import call


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("verify")
    save_model(root / "checkpoint", decided_tiny_model())  # whose traces other tests keep
    with kept_traces():
        export_checkpoint(root / "checkpoint", root / "artifact")
    return root / "checkpoint", root / "artifact"


def first_deviation(checkpoint: Path, artifact: Path, manifest: Manifest | None = None) -> str | None:
    model = load_model(checkpoint)
    line = OnnxLine(artifact, manifest or load_artifact(artifact), threads=1)
    name, pixels = next(ladder_images(96))
    (report,) = compare(model, [line], [Picture.of(name, pixels, model.spec)])
    return report.first_deviation


def spoiled(artifact: Path, out: Path, stage: str, change: str, amount: float) -> Path:
    """A copy in which the initialiser whose name ends with `change` is moved by `amount`."""
    out.mkdir()
    for file in artifact.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    model = onnx.load(out / f"{stage}.onnx")
    tensor = next(t for t in model.graph.initializer if t.name.endswith(change))
    values = numpy_helper.to_array(tensor) + np.float32(amount)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, out / f"{stage}.onnx")
    return out


def test_every_stage_agrees_on_all_sizes(folders: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint, artifact = folders
    run(checkpoint, Asked([artifact]), [], None, "val", tmp_path / "parity.json")
    report = json.loads((tmp_path / "parity.json").read_text())
    assert report["first_deviation"] is None
    assert report["detections"] > 100
    assert all(row["ok"] for row in report["rows"])
    assert json.loads((artifact / PARITY_FILE).read_text()) == report


def test_a_pixel_at_the_threshold_of_a_small_mask_is_no_deviation_and_another_one_is() -> None:
    """16 pixels, the last of them undecided: 15 of 16 would be 0.06, on some processors and not on others."""

    def rle(count: int) -> dict[str, Any]:
        pixels = np.zeros((8, 8), np.uint8, order="F")
        pixels.flat[:count] = 1
        return dict(coco_mask.encode(np.asfortranarray(pixels)))

    for found in (15, 16, 17):
        assert pasted_error(rle(16), rle(15), rle(17), rle(found)) == 0
    assert pasted_error(rle(16), rle(15), rle(17), rle(14)) == 1 / 16
    assert pasted_error(rle(16), rle(15), rle(17), rle(20)) == 3 / 20
    assert pasted_error(rle(16), rle(16), rle(16), rle(0)) == 1


@pytest.mark.parametrize(
    ("stage", "tensor", "amount", "guilty"),
    [
        ("backbone", "fpn.output.0.weight", 0.5, "P2-P5"),
        ("backbone", "rpn_head.logits.weight", 0.5, "RPN logits"),
        ("backbone", "rpn_head.deltas.weight", 0.1, "RPN deltas"),
        ("proposal", "box_head.class_logits.weight", 0.5, "class logits"),
        ("proposal", "box_head.box_deltas.weight", 0.5, "box deltas"),
        ("mask", "convs.0.weight", 0.5, "mask probabilities"),
    ],
)
def test_the_guilty_stage_is_named(
    folders: tuple[Path, Path], tmp_path: Path, stage: str, tensor: str, amount: float, guilty: str
) -> None:
    checkpoint, artifact = folders
    bad = spoiled(artifact, tmp_path / "bad", stage, tensor, amount)
    assert first_deviation(checkpoint, bad, load_artifact(artifact)) == guilty


def test_other_preprocessing_is_named(folders: tuple[Path, Path]) -> None:
    checkpoint, artifact = folders
    manifest = load_artifact(artifact)
    shrunk = dataclasses.replace(manifest.spec.preprocessing, shorter_side_px=80)
    spec = dataclasses.replace(manifest.spec, preprocessing=shrunk)
    assert first_deviation(checkpoint, artifact, dataclasses.replace(manifest, spec=spec)) == "canvas"


def test_other_weights_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    save_model(tmp_path / "other", tiny_model(seed=1))
    with pytest.raises(ParityError, match="export"):
        run(tmp_path / "other", Asked([folders[1]]), [], None, "val", None)


def test_a_changed_file_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    bad = spoiled(folders[1], tmp_path / "bad", "mask", "convs.0.weight", 0.1)
    with pytest.raises(ContractError, match=r"mask\.onnx: got sha256"):
        run(folders[0], Asked([bad]), [], None, "val", None)


def test_the_images_of_a_data_set_are_found_wherever_their_names_point(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As those of Cityscapes, which lie in a folder for each city."""
    data = write_shapes(tmp_path / "shapes", {"val": 2})
    (data / "val" / "city").mkdir()
    file = data / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    for image in content["images"]:
        (data / "val" / image["file_name"]).rename(data / "val" / "city" / image["file_name"])
        image["file_name"] = f"city/{image['file_name']}"
    file.write_text(json.dumps(content))
    run(folders[0], Asked([folders[1]]), [], data, "val", tmp_path / "parity.json")
    report = json.loads((tmp_path / "parity.json").read_text())
    assert report["image_names"][:3] == ["city/0001.png", "city/0002.png", "96x96"]
    assert report["ap"].keys() == {"pytorch", "artifact: fp32, CPU, bodies"}
    assert report["ap"]["artifact: fp32, CPU, bodies"] == report["ap"]["pytorch"]
    printed = capsys.readouterr().out
    assert "AP lost" in printed
    assert printed.count("+0.00") == 2  # of boxes and of masks


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no-checkpoint", "artifact"), "no-checkpoint: no model.json; expected a checkpoint folder"),
        (("checkpoint", "no-artifact"), "no-artifact"),
        (("checkpoint", "artifact", "--images", "no.png"), "no.png: got no such file, expected an image"),
        (("checkpoint", "artifact", "--images", "artifact"), "artifact: no image in this folder"),
        (("checkpoint", "artifact", "--data", "nowhere"), "nowhere/annotations/instances_val.json"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_read_is_one_line(
    words: tuple[str, ...], message: str, folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = folders[0].parent
    assert call(main, "verify", *(word if word.startswith("-") else str(root / word) for word in words)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"maskline-export: {root}")
    assert message in error
    assert error.count("\n") == 1


def test_a_row_fails_on_nan_and_on_other_shapes() -> None:
    for other in (np.array([np.nan]), np.zeros(2)):
        row = StageRow("x", 1.0)
        row.add(np.zeros(1), other)
        row.add(np.zeros(1), np.zeros(1))
        assert not row.ok


def test_boxes_are_matched_once_each_best_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9]], np.float32)
    others = np.array([[0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    partner = match_boxes(boxes, others, np.ones((2, 2), bool), 0.5)
    assert partner.tolist() == [-1, 0]  # the second box is the exact partner; the first may not share it
