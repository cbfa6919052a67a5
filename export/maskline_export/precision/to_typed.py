"""From a float32 artifact to a typed one: the same stages in fp16 or bf16, or with an int8 trunk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx

from maskline_export.errors import ContractError
from maskline_export.folder import written_whole
from maskline_export.manifest import FILE as MANIFEST_FILE
from maskline_export.manifest import Manifest, Precision, StageInfo, load_artifact, sha256
from maskline_export.onnx_file import load_onnx
from maskline_export.onnx_stages import check
from maskline_export.precision import quantize
from maskline_export.precision.low_types import LOW_TYPES, typed, typed_stage

Report = Callable[[str], None]


def type_artifact(
    artifact: Path, out: Path, precision: Precision, calibration: Path | None, report: Report = lambda _: None
) -> Manifest:
    """Write a typed copy of an artifact; everything but features and precision keeps the contract.

    Args:
        artifact: folder that `maskline-export onnx` wrote.
        out: folder to create; an artifact that is there is replaced, anything else is refused.
        precision: `fp16`, `bf16`, or `int8` (int8 trunk, the rest fp16).
        calibration: folder of images like those that will be served; for int8, which needs it, and for no other.
        report: gets one line a step.

    Returns:
        The manifest that was written.

    Raises:
        ContractError: the artifact is damaged or typed already, a weight does not fit the type, too few images, or a
            typed file fails its checks. Nothing is left behind then.
    """
    source = load_artifact(artifact)
    check_request(source, precision, calibration)
    with written_whole(out, MANIFEST_FILE, "an artifact folder") as folder:
        stages = {}
        for name, info in source.stages.items():
            model = load_onnx(artifact / info.file)
            if precision == "int8" and name == "backbone":
                assert calibration is not None  # check_request
                model = _quantised(model, source, calibration, report)
            report(f"{name}: typing as {precision}")
            stages[name] = _write_stage(folder, model, info, precision)
        shutil.copyfile(artifact / source.labels.file, folder / source.labels.file)
        if precision != "bf16":  # which ONNX Runtime does not run on a CPU
            report("all stages: running in ONNX Runtime on made images")
            check.run_stages(folder, stages, source.spec.preprocessing.side_multiple)
        manifest = dataclasses.replace(source, precision=precision, stages=stages)
        manifest.save(folder)
    return manifest


def check_request(source: Manifest, precision: Precision, calibration: Path | None) -> None:
    """Refuse what cannot be typed before anything is computed.

    Raises:
        ContractError: the artifact is typed already, `fp32`, or images given or missing without reason.
    """
    if source.precision != "fp32":
        raise ContractError(
            f"artifact: got precision {source.precision}, expected fp32, to be typed as {precision}; "
            "name the artifact that `maskline-export onnx` wrote"
        )
    if precision == "fp32":
        raise ContractError("precision: got fp32, expected fp16, bf16 or int8; the artifact is fp32 as it stands")
    if precision == "int8" and calibration is None:
        raise ContractError(
            f"precision int8: got no calibration images; give --calibration FOLDER with at least {quantize.MIN_IMAGES} "
            "images like those that will be served"
        )
    if precision != "int8" and calibration is not None:
        raise ContractError(f"precision {precision}: got --calibration, which only int8 needs; leave it out")


def _quantised(model: onnx.ModelProto, source: Manifest, calibration: Path, report: Report) -> onnx.ModelProto:
    files = quantize.calibration_files(calibration)
    done = 0

    def on_image() -> None:
        nonlocal done
        done += 1
        if done % max(1, len(files) // 10) == 0 or done == len(files):
            report(f"backbone: calibrated on {done} of {len(files)} images")

    return quantize.quantised(model, quantize.canvases(files, source.spec.preprocessing), on_image)


def _write_stage(folder: Path, model: onnx.ModelProto, info: StageInfo, precision: Precision) -> StageInfo:
    low = LOW_TYPES[precision]
    path = folder / info.file
    onnx.save(typed(model, low), path)
    found = check.custom_ops(load_onnx(path))
    if found != info.custom_ops:
        raise ContractError(f"{info.file}: got the op nodes {found} after typing, expected {info.custom_ops}")
    described = dataclasses.replace(typed_stage(info, low), sha256=sha256(path))
    check.check_stage(path, described)
    return described
