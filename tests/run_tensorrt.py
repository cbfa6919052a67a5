"""Builds engines with TensorRT, runs them on the GPU, and compares every stage with ONNX Runtime on the CPU.

For a machine that has TensorRT and an NVIDIA GPU; it prints one table a precision and ends with status 1 when a stage
deviates. The tiny model of the tests takes a minute or two; `--full` a ResNet-50-FPN with random weights at full size.

Run: make test-tensorrt, or python tests/run_tensorrt.py --full --precision fp16
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from maskline_export.cli import PrecisionChoice
from maskline_export.engine.run_engine import TensorRTStages
from maskline_export.engine.tensorrt_module import import_tensorrt
from maskline_export.engine.to_engine import Request, build_engines
from maskline_export.errors import ExportError, ParityError
from maskline_export.manifest import Precision, load_artifact
from maskline_export.onnx_stages.to_onnx import export_checkpoint, export_model
from maskline_export.precision.quantize import MIN_IMAGES
from maskline_export.verify.compare import StageRow
from maskline_export.verify.engines import RunStage, compare_engines
from maskline_export.verify.images import ladder_images
from maskline_export.verify.onnx_runtime import OnnxPipeline, Tensors
from maskline_export.verify.parity_table import parity_table
from maskline_train.data.canvas import preprocess, preprocess_batch
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.spec import ModelSpec, PreprocessingSpec
from PIL import Image
from rich.console import Console
from support.export.exported import export_tiny

FULL_CLASSES = tuple(f"class {index}" for index in range(80))  # as many as COCO has

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    precision: Annotated[list[PrecisionChoice] | None, typer.Option(help="Repeatable; default: all four.")] = None,
    full: Annotated[bool, typer.Option("--full", help="ResNet-50-FPN, random weights, 800x1344.")] = False,
    checkpoint: Annotated[Path | None, typer.Option(help="A checkpoint of yours in place of the tiny model.")] = None,
    plugin_library: Annotated[Path | None, typer.Option(help="libmaskline_trt.so; default: as for `engine`.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Largest batch that is compared.")] = 2,
) -> None:
    """Build, run, compare, print."""
    console = Console()
    import_tensorrt("tensorrt")  # before anything takes time
    with tempfile.TemporaryDirectory(prefix="maskline-tensorrt-") as scratch:
        root = Path(scratch)
        artifact = _artifact(root, full, checkpoint)
        photos = calibration_photos(root / "photos", artifact)
        failed = []
        for wanted in precision or list(PrecisionChoice):
            for plugin_free in (False, True):
                title = f"{wanted.value}, {'standard layers' if plugin_free else 'plugins'}"
                request = Request(
                    artifact,
                    root / "engines",
                    wanted.value,
                    (f"1:1:{batch}",),
                    photos if wanted is PrecisionChoice.int8 else None,
                    plugin_library,
                    plugin_free,
                    timing_cache=root / "timings",
                )
                with console.status(title):
                    engines = build_engines(request, lambda line: console.print(f"[dim]{line}[/]"))
                    rows = compare(artifact, TensorRTStages(root / "engines").run, wanted.value, batch)
                where = f"TensorRT {engines.version}, {engines.gpu}"
                console.print(parity_table(f"{title}: {where} against ONNX Runtime fp32", rows))
                failed += [f"{title}: {row.stage}" for row in rows if not row.ok]
    if failed:
        raise ParityError(f"{len(failed)} rows deviate: {'; '.join(failed)}; the first one is where to look")
    console.print("[green]Every stage agrees.[/]")


def _artifact(root: Path, full: bool, checkpoint: Path | None) -> Path:
    """Folder of an artifact with dense bodies."""
    if checkpoint is not None:
        export_checkpoint(checkpoint, root / "artifact", "dense")
    elif full:
        export_model(full_model(ModelSpec(classes=FULL_CLASSES)), "0" * 64, root / "artifact", "dense")
    else:
        return export_tiny(root).dense
    return root / "artifact"


def full_model(spec: ModelSpec) -> MaskRCNN:
    """Random weights of which the last layers are scaled so that scores, boxes and masks are spread."""
    torch.manual_seed(0)
    model = MaskRCNN(spec).eval()
    mask_head = model.mask_head
    assert mask_head is not None
    layers = (
        (model.rpn_head.logits, 3.0),
        (model.rpn_head.deltas, 0.3),
        (model.box_head.class_logits, 0.6),
        (model.box_head.box_deltas, 1.0),
        (mask_head.mask_logits, 30.0),
    )
    with torch.no_grad():
        for layer, factor in layers:
            layer.weight.mul_(factor)
    return model


def calibration_photos(folder: Path, artifact: Path) -> Path:
    """A folder with the photographs of `verify` for the calibration, mirrored ones too."""
    folder.mkdir()
    pixels = (pixels for _, pixels in ladder_images(load_artifact(artifact).spec.preprocessing.shorter_side_px))
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
        Image.fromarray(picture[:, ::-1]).save(folder / f"{number}_mirrored.png")
    assert len(list(folder.iterdir())) >= MIN_IMAGES
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
    return compare_engines(tuple(chain), lambda stage, t: chain[stage].run(t), engines, pictures, precision)


def run() -> None:
    """The command: what we know is one line on stderr and status 1."""
    try:
        app()
    except ExportError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False, style="red")
        sys.exit(1)


if __name__ == "__main__":
    run()
