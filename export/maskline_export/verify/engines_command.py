"""What `maskline-export verify-engines` does: engines on the GPU against ONNX Runtime on the CPU, a table a folder.

Without a folder of engines it builds them, of every precision asked for, with our plugins and with standard layers: the
first thing to run on a machine with another GPU or another TensorRT.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskline_command.console import results
from maskline_train.data.canvas import preprocess, preprocess_batch
from maskline_train.files import save_image
from maskline_train.spec import PreprocessingSpec
from PIL import Image
from rich.console import Console

from maskline_export.engine.run_engine import TensorRTStages
from maskline_export.engine.tensorrt_module import import_tensorrt
from maskline_export.engine.to_engine import Request, build_engines
from maskline_export.errors import ContractError, ParityError
from maskline_export.manifest import Manifest, Precision, load_artifact
from maskline_export.verify.command import check_float32
from maskline_export.verify.compare import StageRow
from maskline_export.verify.engines import RunStage, compare_engines
from maskline_export.verify.images import ladder_images
from maskline_export.verify.onnx_runtime import OnnxPipeline, Tensors
from maskline_export.verify.parity_table import parity_table


@dataclasses.dataclass(frozen=True)
class Building:
    """What to build where no engines are given.

    Attributes:
        precisions: each with our plugins and with standard layers.
        plugin_library: None: looked for, as `maskline-export engine` does.
    """

    precisions: Sequence[Precision]
    plugin_library: Path | None


def run(artifact: Path, engines: Path | None, building: Building, batch: int) -> None:
    """Compare and print a table for each folder of engines.

    Args:
        artifact: fp32, with dense bodies where engines are to be built of it.
        engines: a folder of engines; None: build them in a temporary folder.
        building: what to build then.
        batch: the largest batch that is compared.

    Raises:
        ParityError: a row deviates; all tables are printed first.
        EngineBuildError: no TensorRT, no GPU, or the engines are of another one.
        ContractError: the artifact is typed or damaged, or the engines were built of another one.
    """
    console = results()
    import_tensorrt("tensorrt")  # before anything takes time
    manifest = load_artifact(artifact)
    check_float32(artifact, manifest)
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="maskline-engines-") as scratch:
        folders = [(str(engines), engines)] if engines else _build(artifact, building, batch, Path(scratch), console)
        for title, folder in folders:
            failed += [f"{title}: {stage}" for stage in _show(artifact, manifest, folder, title, batch, console)]
    if failed:
        raise ParityError(f"{len(failed)} rows deviate: {'; '.join(failed)}; the first one is where to look")
    console.print("Every stage agrees.", style="green")


def _build(
    artifact: Path, building: Building, batch: int, scratch: Path, console: Console
) -> Iterator[tuple[str, Path]]:
    """Title and folder of each trial, one after the other in the same place."""
    photos = calibration_photos(scratch / "photos", artifact)
    for precision in building.precisions:
        for plugin_free in (False, True):
            title = f"{precision}, {'standard layers' if plugin_free else 'plugins'}"
            request = Request(
                artifact,
                scratch / "engines",
                precision,
                (f"1:1:{batch}",),
                photos if precision == "int8" else None,
                building.plugin_library,
                plugin_free,
                timing_cache=scratch / "timings",
            )
            with console.status(title):
                build_engines(request, lambda line: console.print(line, style="dim"))
            yield title, scratch / "engines"


def _show(artifact: Path, manifest: Manifest, folder: Path, title: str, batch: int, console: Console) -> list[str]:
    """Compare a folder of engines and print its table; returns the stages that deviate."""
    engines = TensorRTStages(folder)
    found = engines.manifest
    for name, stage in found.stages.items():
        if name not in manifest.stages or stage.onnx_sha256 != manifest.stages[name].sha256:
            raise ContractError(
                f"{folder}: {stage.file} was built of another {name}.onnx than {artifact} holds; name the artifact "
                "that the engines were built of, or build them again with `maskline-export engine`"
            )
    with console.status(title):
        rows = compare(artifact, engines.run, found.precision, batch)
    medians = ", ".join(f"{name} {statistics.median(ms):.2f}" for name, ms in engines.milliseconds.items() if ms)
    where = f"{found.precision}, TensorRT {found.version}, {found.gpu}"
    console.print(parity_table(f"{title}: {where} against ONNX Runtime fp32", rows))
    console.print(f"medians of a call on the GPU, ms, of batches of 1 and {batch}: {medians}", style="dim")
    return [row.stage for row in rows if not row.ok]


def calibration_photos(folder: Path, artifact: Path) -> Path:
    """A folder with the photographs of `verify` for the calibration, mirrored ones too."""
    folder.mkdir()
    pixels = (pixels for _, pixels in ladder_images(load_artifact(artifact).spec.preprocessing.shorter_side_px))
    for number, picture in enumerate(pixels):
        save_image(folder / f"{number}.png", Image.fromarray(picture), "PNG")
        save_image(folder / f"{number}_mirrored.png", Image.fromarray(picture[:, ::-1]), "PNG")
    return folder


def batches(preprocessing: PreprocessingSpec, batch: int) -> Iterator[Tensors]:
    """Each photograph alone, then all of them in batches that share a canvas."""
    pictures = [pixels for _, pixels in ladder_images(preprocessing.shorter_side_px)]
    for pixels in pictures:
        canvas, info = preprocess(pixels, preprocessing)
        yield {"canvas": canvas[None], "image_info": info[None]}
    for start in range(0, len(pictures), batch):
        canvas, info = preprocess_batch(pictures[start : start + batch], preprocessing)
        yield {"canvas": canvas, "image_info": info}


def compare(artifact: Path, engines: RunStage, precision: Precision, batch: int) -> list[StageRow]:
    """The rows of one folder of engines, or of whatever stands in for it."""
    chain, spec = OnnxPipeline(artifact).stages, load_artifact(artifact).spec
    pictures = batches(spec.preprocessing, batch)
    return compare_engines(
        tuple(chain), lambda stage, t: chain[stage].run(t), engines, pictures, precision, spec.pixel_boxes
    )
