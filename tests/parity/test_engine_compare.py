"""The comparison of `maskline-export verify-engines`, with typed stages in ONNX Runtime in the place of engines."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from maskline_export.cli import main
from maskline_export.engine.engine_manifest import EngineInfo, EngineManifest
from maskline_export.errors import ContractError, ParityError
from maskline_export.manifest import load_artifact
from maskline_export.precision.low_types import is_feature
from maskline_export.precision.to_typed import type_artifact
from maskline_export.verify import engines_command
from maskline_export.verify.compare import StageRow
from maskline_export.verify.engines import RunStage, compare_engines
from maskline_export.verify.onnx_runtime import OnnxPipeline, Tensors
from maskline_export.verify.parity_table import parity_table
from rich.console import Console
from serve import standin
from support.export.exported import Exported
from support.processes.in_process import call


@pytest.fixture(scope="module")
def photos(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return engines_command.calibration_photos(tmp_path_factory.mktemp("calibration") / "photos", exported.ort)


def stages(folder: Path) -> RunStage:
    """What an engine does: rounds float32 features to its own type, and gives them back as float32."""
    chain = OnnxPipeline(folder, threads=1).stages

    def run(stage: str, tensors: Tensors) -> Tensors:
        low = {name: array.astype(np.float16) if is_feature(name) else array for name, array in tensors.items()}
        found = chain[stage].run(low)
        return {name: array.astype(np.float32) if is_feature(name) else array for name, array in found.items()}

    return run


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_typed_stages_pass(exported: Exported, photos: Path, tmp_path: Path, precision: str) -> None:
    type_artifact(exported.ort, tmp_path / "a", precision, photos if precision == "int8" else None)  # type: ignore[arg-type]
    rows = engines_command.compare(exported.ort, stages(tmp_path / "a"), precision, 2)  # type: ignore[arg-type]
    assert [row.stage for row in rows if not row.ok] == [], rows
    by_name = {row.stage: row for row in rows}
    assert by_name["features"].max_error > 0
    assert by_name["features"].scale > 1
    assert by_name["mask probabilities"].scale > 0.5
    assert by_name["scores"].scale > 0.5, "there is something to compare"
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(parity_table("a title", rows))
    verdicts = [line.split()[-1] for line in console.export_text().strip().splitlines()[2:]]
    assert verdicts == ["ok"] * len(rows)


@pytest.fixture(scope="module")
def answers(exported: Exported) -> tuple[Tensors, dict[str, Tensors]]:
    """One photograph and what each stage gives on it."""
    batch = next(engines_command.batches(exported.model.spec.preprocessing, 1))
    tensors, found = dict(batch), {}
    for stage, model in OnnxPipeline(exported.ort, threads=1).stages.items():
        found[stage] = model.run(tensors)
        tensors |= found[stage]
    return batch, found


def shifted(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[str, Tensors], Tensors]:
    return lambda stage, found: {key: change(array) if key == name else array for key, array in found.items()}


@pytest.mark.parametrize(
    ("name", "change", "row"),
    [
        ("p3", lambda array: array * np.float32(1.05), "features"),
        ("rpn_logits_p4", lambda array: array[:, ::-1], "RPN logits"),
        ("rpn_deltas_p2", lambda array: np.roll(array, 1, axis=3), "RPN deltas"),
        ("boxes", lambda array: array * np.float32(1.1), "detections"),
        ("labels", lambda array: array + 1, "detections"),
        ("num_detections", lambda array: array // 2, "detections"),
        ("scores", lambda array: array * np.float32(0.9), "scores"),
        ("masks", lambda array: array.swapaxes(2, 3), "mask probabilities"),
        ("p2", lambda array: np.where(array == array.max(), np.nan, array), "features"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # a function's own text holds its address
)
def test_a_wrong_engine_is_found_where_it_is_wrong(
    answers: tuple[Tensors, dict[str, Tensors]], name: str, change: Callable[[np.ndarray], np.ndarray], row: str
) -> None:
    wrong = shifted(name, change)
    batch, right = answers
    rows = compare_engines(
        tuple(right), lambda stage, _: right[stage], lambda stage, _: wrong(stage, right[stage]), [batch], "fp16"
    )
    assert row in [found.stage for found in rows if not found.ok]
    assert len([found for found in rows if not found.ok]) == 1


def test_keypoints_are_compared_where_there_are_some(tmp_path: Path) -> None:
    """The stand-in knows three keypoints, a quarter of the box apart: three pixels of its canvas."""
    artifact = standin.write_artifact(tmp_path / "artifact", standin.VARIANTS["keypoints on c5"])
    chain = OnnxPipeline(artifact, threads=1).stages
    assert list(chain) == ["backbone", "proposal", "keypoint"]
    batch = {"canvas": np.full((2, 64, 96, 3), 9, np.uint8), "image_info": np.array([[64, 96, 1, 1, 64, 96]] * 2, "f4")}

    def moved(by: tuple[float, float, float], padding: bool = False) -> dict[str, StageRow]:
        def engines(stage: str, tensors: Tensors) -> Tensors:
            found = chain[stage].run(tensors)
            if stage == "keypoint":
                rows = (tensors["labels"] < 0) == padding
                found["keypoints"] = found["keypoints"] + np.where(rows[..., None, None], np.array(by, "f4"), 0)
            return found

        rows = compare_engines(tuple(chain), lambda stage, t: chain[stage].run(t), engines, [batch], "fp16")
        return {row.stage: row for row in rows}

    def wrong(rows: dict[str, StageRow]) -> list[str]:
        return [row.stage for row in rows.values() if not row.ok]

    near = moved((0.25, 0, 0.01))
    assert wrong(near) == []
    assert near["keypoints"].max_error == pytest.approx(0.25, abs=1e-5)  # float32
    assert near["keypoints"].matched == 1
    assert wrong(moved((0.5, 0, 0))) == wrong(moved((0, -3, 0))) == ["keypoints"]
    assert wrong(moved((0, 0, 0.1))) == wrong(moved((0, 0, np.nan))) == ["keypoint probabilities"]
    assert wrong(moved((1, 0, 0), padding=True)) == ["keypoints"]


def test_an_engine_without_an_output_is_no_engine_that_agrees(answers: tuple[Tensors, dict[str, Tensors]]) -> None:
    batch, right = answers

    def lacking(stage: str, _: Tensors) -> Tensors:
        return {name: array for name, array in right[stage].items() if name != "rpn_logits_p2"}

    with pytest.raises(KeyError, match="rpn_logits_p2"):
        compare_engines(tuple(right), lambda stage, _: right[stage], lacking, [batch], "fp16")


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="the package tensorrt is installed")
def test_without_tensorrt_the_command_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(main, "verify-engines", "nothing") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("maskline-export: TensorRT is not installed: `pip install tensorrt`")
    assert len(said.err.strip().splitlines()) == 1


class StandIn:
    """In the place of TensorRTStages: typed stages in ONNX Runtime under the name of engines of an artifact."""

    def __init__(self, of: Path, run: RunStage) -> None:
        stages = load_artifact(of).stages
        info = {
            name: EngineInfo(f"{name}.plan", "", 0, stage.sha256, 0, 0.0, stage.inputs, stage.outputs)
            for name, stage in stages.items()
        }
        self.manifest = EngineManifest("0", "tensorrt", "10.14", "9.0", "a GPU", "fp16", (), (), info)
        self.run = run
        self.milliseconds = {"backbone": [1.0, 3.0], "mask": []}


def verify_engines(artifact: Path, engines: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command behind its check for TensorRT, on a folder that `engines` stands for."""
    monkeypatch.setattr(engines_command, "import_tensorrt", lambda runtime: None)
    monkeypatch.setattr(engines_command, "TensorRTStages", lambda folder: engines)
    engines_command.run(artifact, Path("engines"), engines_command.Building((), None), 1)


def test_the_command_says_which_stage_of_which_engines_deviates(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_artifact(exported.ort, tmp_path / "a", "fp16", None)
    right = stages(tmp_path / "a")
    verify_engines(exported.ort, StandIn(exported.ort, right), monkeypatch)
    said = capsys.readouterr().out
    assert "Every stage agrees." in said
    assert "ms, of batches of 1 and 1: backbone 2.00" in said
    twice = shifted("scores", lambda array: array * np.float32(2))
    wrong = StandIn(exported.ort, lambda stage, tensors: twice(stage, right(stage, tensors)))
    with pytest.raises(ParityError, match=r"1 rows deviate: engines: scores; the first one is where to look"):
        verify_engines(exported.ort, wrong, monkeypatch)
    assert "deviates" in capsys.readouterr().out


def test_engines_of_another_artifact_and_a_typed_one_are_refused(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_artifact(exported.dense, tmp_path / "a", "fp16", None)
    with pytest.raises(ContractError, match=r"backbone\.plan was built of another backbone\.onnx than"):
        verify_engines(exported.dense, StandIn(tmp_path / "a", stages(tmp_path / "a")), monkeypatch)
    with pytest.raises(ContractError, match="got precision fp16, expected fp32"):
        verify_engines(tmp_path / "a", StandIn(tmp_path / "a", stages(tmp_path / "a")), monkeypatch)
