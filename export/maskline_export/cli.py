"""The command `maskline-export`: from a checkpoint to files that are served."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from maskline_command.console import results
from maskline_command.ending import ending
from maskline_command.version import version_option
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # they need onnx, and --help does not
    from maskline_export.engine.engine_manifest import EngineManifest
    from maskline_export.manifest import Manifest

app = typer.Typer(
    help="Export a Mask R-CNN checkpoint to ONNX and TensorRT.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback()
def _common(
    version: Annotated[bool, version_option("maskline-export")] = False,
) -> None:
    """What every command takes."""


class BodiesChoice(enum.StrEnum):
    """What the command line offers for `--bodies`."""

    ort = "ort"
    dense = "dense"


@app.command()
def onnx(
    checkpoint: Annotated[Path, typer.Argument(help="Folder with model.safetensors and model.json.")],
    out: Annotated[Path, typer.Argument(help="Artifact folder to write; an artifact that is there is replaced.")],
    bodies: Annotated[
        BodiesChoice,
        typer.Option(
            help="Bodies of the custom ops. [bold]ort[/]: fast in ONNX Runtime; [bold]dense[/]: static shapes only."
        ),
    ] = BodiesChoice.ort,
) -> None:
    """Write backbone.onnx, proposal.onnx, mask.onnx, labels.txt and manifest.json.

    The files are checked and run once before they appear under their name.

    [bold]Example:[/] maskline-export onnx runs/digits/best artifacts/digits
    """
    from maskline_export.onnx_stages.to_onnx import export_checkpoint  # torch takes seconds to import: not for --help

    with _progress() as report:
        manifest = export_checkpoint(checkpoint, out, bodies.value, report)
    results().print(_summary(manifest, out))


class PrecisionChoice(enum.StrEnum):
    """What the command line offers for `--precision`."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"
    int8 = "int8"


Precision = Annotated[
    PrecisionChoice,
    typer.Option(
        help="Of trunk and heads; geometry stays float32. [bold]int8[/]: an int8 trunk, the rest fp16, for a GPU; "
        "for a CPU there is `quantize`."
    ),
]
Calibration = Annotated[
    Path | None, typer.Option(help="Folder of images like those that will be served, at least 8; for int8.")
]

PluginLibrary = Annotated[
    Path | None,
    typer.Option(
        help="libmaskline_trt.so. Default: $MASKLINE_PLUGIN_LIBRARY, the wheel's, build/plugins/libmaskline_trt.so."
    ),
]


@app.command()
def typed(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder written by `maskline-export onnx`.")],
    out: Annotated[Path, typer.Argument(help="Artifact folder to write; an artifact that is there is replaced.")],
    precision: Precision = PrecisionChoice.fp16,
    calibration: Calibration = None,
) -> None:
    """Write a copy of an artifact in fp16 or bf16, or with an int8 trunk: what a strongly typed engine is built of.

    `maskline-export engine` does this itself; the files suit `trtexec` too, before version 11 with `--stronglyTyped`.

    [bold]Example:[/] maskline-export typed artifacts/dense artifacts/fp16 --precision fp16
    """
    from maskline_export.precision.to_typed import type_artifact

    with _progress() as report:
        manifest = type_artifact(artifact, out, precision.value, calibration, report)
    results().print(_summary(manifest, out))


@app.command()
def quantize(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder written by `maskline-export onnx`.")],
    out: Annotated[Path, typer.Argument(help="Artifact folder to write; an artifact that is there is replaced.")],
    calibration: Annotated[
        Path, typer.Option(help="Folder of images like those that will be served, at least 8; some hundred are better.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="COCO-format folder: also print AP of float32 and int8 on its images.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "val",
    allow_slower: Annotated[
        bool, typer.Option("--allow-slower", help="Write it although it is not faster on this machine.")
    ] = False,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file too.")] = None,
) -> None:
    """Write a copy of an artifact that computes in int8 on a CPU, and print what that brings and costs.

    Trunk and heads become int8 by ranges from the calibration images; geometry and predictors stay float32. It is for
    `maskline-serve assemble --target cpu`; a GPU's int8 is `maskline-export engine --precision int8`.

    [bold]Example:[/] maskline-export quantize artifacts/digits artifacts/digits-int8 --calibration photos/
    """
    from maskline_export.precision.int8_cpu.command import run

    with _progress() as report:
        manifest, table = run(artifact, out, calibration, data, split, allow_slower, json_path, report)
    results().print(_summary(manifest, out), *table)


@app.command()
def engine(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder with dense bodies, fp32 or typed already.")],
    out: Annotated[Path, typer.Argument(help="Folder of engines to write; engines that are there are replaced.")],
    precision: Precision = PrecisionChoice.fp16,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help="Batches MIN:OPT:MAX for every canvas, or MIN:OPT:MAX@HxW for one; repeatable. Default: 1:4:8.",
            metavar="PROFILE",
        ),
    ] = None,
    calibration: Calibration = None,
    plugin_library: PluginLibrary = None,
    plugin_free: Annotated[
        bool, typer.Option("--plugin-free", help="Standard layers in place of our plugins: slower, needs no library.")
    ] = False,
    rtx: Annotated[
        bool, typer.Option("--rtx", help="Build for TensorRT for RTX, which needs no GPU to build; plugin-free only.")
    ] = False,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of kernel timings to read and write. Default: timing.cache in OUT.")
    ] = None,
) -> None:
    """Build a TensorRT engine of each stage, on the machine (TensorRT and GPU) that will serve them.

    Networks are strongly typed, with one optimisation profile a canvas. Plans, plugin libraries and engines.json appear
    under their name when all of them are there.

    [bold]Example:[/] maskline-export engine artifacts/dense out/engines --precision fp16 --profile 1:4:8
    """
    from maskline_export.engine.to_engine import Request, build_engines

    request = Request(
        artifact,
        out,
        precision.value,
        tuple(profile or ()),
        calibration,
        plugin_library,
        plugin_free,
        "tensorrt_rtx" if rtx else "tensorrt",
        timing_cache,
    )
    with _progress() as report:
        engines = build_engines(request, report)
    results().print(_engine_summary(engines, out))


class DeviceChoice(enum.StrEnum):
    """What the command line offers for `--device`."""

    cpu = "cpu"
    cuda = "cuda"


@app.command()
def verify(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder: what PyTorch finds is the reference.")],
    artifact: Annotated[
        list[Path], typer.Argument(help="Artifact folders exported from it: fp32, typed, int8 for a CPU; a line each.")
    ],
    library: Annotated[
        bool, typer.Option("--library/--no-library", help="Also each artifact with libmaskline_ort.so.")
    ] = False,
    device: Annotated[DeviceChoice, typer.Option(help="What ONNX Runtime computes on.")] = DeviceChoice.cpu,
    engines: Annotated[
        list[Path] | None, typer.Option(help="Also a folder of TensorRT engines built of an ARTIFACT; repeatable.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Also a running server, host:port, that serves an ARTIFACT.", metavar="HOST:PORT")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="Image file or folder, repeatable; default: a ladder of sizes.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="COCO-format folder: also print AP of all lines on its images.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "val",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the reports to this file too.")] = None,
) -> None:
    """Compare a checkpoint with what was made of it, stage by stage: artifacts, engines, a running server.

    Prints the largest and the 99th-percentile error of each stage and names the first one that deviates; then the exit
    status is 1. Boxes whose fate hangs on less than a stage's own error are named as near-ties, and fail nothing.

    [bold]Example:[/] maskline-export verify runs/digits/best artifacts/digits artifacts/digits-int8
    """
    from maskline_export.verify.command import run
    from maskline_export.verify.lines.choose import Asked

    run(checkpoint, Asked(artifact, library, device.value, engines or [], url), images or [], data, split, json_path)


@app.command()
def verify_engines(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder in fp32; with dense bodies to build of it.")],
    engines: Annotated[
        Path | None,
        typer.Argument(help="What `maskline-export engine` wrote of it. Default: build them for this comparison."),
    ] = None,
    precision: Annotated[
        list[PrecisionChoice] | None, typer.Option(help="Of what is built, repeatable; default: all four.")
    ] = None,
    plugin_library: PluginLibrary = None,
    batch: Annotated[int, typer.Option(min=1, help="Largest batch that is compared.")] = 2,
) -> None:
    """Compare TensorRT engines on this GPU with their artifact in ONNX Runtime, stage by stage.

    Without ENGINES it builds them with our plugins and with standard layers, in a temporary folder. When a stage
    deviates the exit status is 1.

    [bold]Example:[/] maskline-export verify-engines artifacts/dense out/engines
    """
    from maskline_export.verify.engines_command import Building, run

    building = Building([choice.value for choice in precision or list(PrecisionChoice)], plugin_library)
    run(artifact, engines, building, batch)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Gives a function that shows a line on stderr, and shows the last one as what is being done."""
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with console.status("starting") as status:

        def report(line: str) -> None:
            console.print(Text(line, style="dim"))
            status.update(Text(line))

        yield report


def _engine_summary(engines: EngineManifest, out: Path) -> Table:
    """One row a stage: file, size, plugin layers, time."""
    where = engines.gpu or "no GPU, built for a kind"
    runtime = "TensorRT" if engines.runtime == "tensorrt" else "TensorRT for RTX"
    title = (
        f"engines {out} ({engines.precision}, {runtime} {engines.version}, SM {engines.compute_capability}, {where})"
    )
    table = Table(title=title, caption=f"profiles {', '.join(map(str, engines.profiles))}")
    for heading in ("stage", "file", "MiB", "plugin layers", "seconds"):
        table.add_column(heading, justify="left" if heading in ("stage", "file") else "right")
    for name, stage in engines.stages.items():
        numbers = (f"{stage.bytes / 2**20:.1f}", str(stage.plugin_layers), f"{stage.build_seconds:.1f}")
        table.add_row(name, stage.file, *numbers)
    return table


def _summary(manifest: Manifest, out: Path) -> Table:
    """One row a stage: file, size, op nodes."""
    table = Table(title=f"artifact {out} ({manifest.bodies} bodies, {manifest.precision}, opset {manifest.opset})")
    for heading in ("stage", "file", "MiB", "custom ops"):
        table.add_column(heading, justify="right" if heading == "MiB" else "left")
    for name, stage in manifest.stages.items():
        ops = ", ".join(f"{op} x {count}" for op, count in stage.custom_ops.items())
        table.add_row(name, stage.file, f"{(out / stage.file).stat().st_size / 2**20:.1f}", ops)
    return table


def main() -> None:
    """Run the command line."""
    with ending("maskline-export", extra="export"):
        app()


if __name__ == "__main__":
    main()
