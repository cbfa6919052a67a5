"""From a float32 artifact to one whose trunk and heads compute in int8 on a CPU."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import onnx
from maskline_host import custom_ops_path
from maskline_host.library import HostLibraryError

from maskline_export.errors import ContractError
from maskline_export.folder import written_whole
from maskline_export.manifest import FILE as MANIFEST_FILE
from maskline_export.manifest import Manifest, Precision, StageInfo, load_artifact, sha256
from maskline_export.onnx_file import load_onnx
from maskline_export.onnx_stages import check
from maskline_export.precision.int8_cpu.observe import observe
from maskline_export.precision.int8_cpu.plan import Plan, plan
from maskline_export.precision.int8_cpu.price import Price, compare
from maskline_export.precision.int8_cpu.ranges import Observed
from maskline_export.precision.int8_cpu.rewrite import rewritten
from maskline_export.precision.quantize import calibration_files, canvases
from maskline_export.verify.onnx_runtime import Tensors

PRECISION: Precision = "int8-cpu"
# Fewer say too little of what a head behind the detections sees: its ranges would fit the few. It stays float32 then.
MIN_DETECTIONS = 20
_PRICED_IMAGES = 20  # both sides run on them, in turn

Report = Callable[[str], None]


def quantise_artifact(
    artifact: Path, out: Path, calibration: Path, *, allow_slower: bool = False, report: Report = lambda _: None
) -> tuple[Manifest, Price]:
    """Write an int8 copy of an artifact, if it is faster on this machine; names, shapes and types stay.

    Args:
        artifact: folder that `maskline-export onnx` wrote.
        out: folder to create; an artifact that is there is replaced, anything else is refused.
        calibration: folder of images like those that will be served.
        allow_slower: write it in any case, for a machine of another kind.
        report: gets one line a step.

    Returns:
        The manifest that was written, and what int8 brings and costs on the first of the calibration images.

    Raises:
        ContractError: the artifact is damaged or not float32, too few images, or int8 is not faster here. Nothing is
            left behind then.
    """
    source = load_artifact(artifact)
    if source.precision != "fp32":
        raise ContractError(
            f"artifact: got precision {source.precision}, expected fp32, to be quantised; name the artifact that "
            "`maskline-export onnx` wrote"
        )
    if out.resolve() == artifact.resolve():
        raise ContractError(f"{out}: got the float32 artifact as the folder to write, expected another; keep both")
    files = calibration_files(calibration)
    library = _library(report)

    def images() -> Iterator[Tensors]:
        return canvases(files, source.spec.preprocessing)

    models = {name: load_onnx(artifact / info.file) for name, info in source.stages.items()}
    stages = {name: (model, plan(model)) for name, model in models.items()}
    with written_whole(out, MANIFEST_FILE, "an artifact folder") as folder:
        seen, detections = observe(stages, _reported(images(), len(files), report), len(files), library)
        infos = {}
        for name, info in source.stages.items():
            model = _rounded(name, *stages[name], seen[name], detections, report)
            infos[name] = _write_stage(folder, model, info)
        shutil.copyfile(artifact / source.labels.file, folder / source.labels.file)
        report("all stages: running in ONNX Runtime on made images")
        check.run_stages(folder, infos, source.spec.preprocessing.side_multiple)
        manifest = dataclasses.replace(source, precision=PRECISION, stages=infos)
        manifest.save(folder)
        report("all stages: comparing speed and detections with float32")
        price = compare(artifact, folder, islice(images(), _PRICED_IMAGES), library)
        if price.times_as_fast <= 1 and not allow_slower:
            raise ContractError(
                f"int8: got {price.times_as_fast:.2f} times the speed of float32 on this machine, expected more; "
                "serve the float32 artifact here, or give --allow-slower to write int8 for a machine whose processor "
                "has VNNI"
            )
    return manifest, price


def _library(report: Report) -> Path | None:
    try:
        library = custom_ops_path()
    except HostLibraryError as error:
        raise ContractError(str(error)) from error
    if library is None:
        report("libmaskline_ort.so is not there: the bodies of our ops run, which int8 does not make faster")
    return library


def _reported(images: Iterator[Tensors], total: int, report: Report) -> Iterator[Tensors]:
    """The images, with a line after every tenth of them."""
    for done, tensors in enumerate(images, 1):
        yield tensors
        if done % max(1, total // 10) == 0 or done == total:
            report(f"calibrated on {done} of {total} images")


def _rounded(
    name: str, model: onnx.ModelProto, planned: Plan, seen: dict[str, Observed], detections: int, report: Report
) -> onnx.ModelProto:
    """The stage in int8 where calibration allows; otherwise as it is, and why in the report."""
    behind_detections = name not in ("backbone", "proposal")
    if behind_detections and detections < MIN_DETECTIONS:
        report(
            f"{name}: stays float32: got {detections} detections in the calibration images, expected at least "
            f"{MIN_DETECTIONS}; give more images, with objects on them"
        )
        return model
    if any(observed.empty for observed in seen.values()):
        report(f"{name}: stays float32: a part of it saw nothing in the calibration images; give more, with objects")
        return model
    if not planned.products:
        report(f"{name}: stays float32: it has nothing that int8 makes faster")
        return model
    report(f"{name}: {len(planned.products)} convolutions and matrix products become int8")
    return rewritten(model, planned, {tensor: observed.range() for tensor, observed in seen.items()})


def _write_stage(folder: Path, model: onnx.ModelProto, info: StageInfo) -> StageInfo:
    path = folder / info.file
    onnx.save(model, path)
    described = dataclasses.replace(info, sha256=sha256(path))
    check.check_stage(path, described)
    return described
