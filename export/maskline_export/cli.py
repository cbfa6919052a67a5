"""The command `maskline-export`: from a checkpoint to files that are served."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from maskline_export.errors import ExportError
from maskline_export.manifest import Manifest

app = typer.Typer(
    help="Export a Mask R-CNN checkpoint to ONNX.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


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
    from maskline_export.to_onnx import export_checkpoint  # torch takes seconds to import: not for --help

    console = Console(stderr=True)
    with console.status("reading the checkpoint") as status:

        def report(line: str) -> None:
            console.print(f"[dim]{line}[/]")
            status.update(line)

        manifest = export_checkpoint(checkpoint, out, bodies.value, report)
    Console().print(_summary(manifest, out))


@app.command()
def verify(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder the artifact was exported from.")],
    artifact: Annotated[Path, typer.Argument(help="Artifact folder written by `maskline-export onnx`.")],
    images: Annotated[
        list[Path] | None, typer.Option(help="Image file or folder, repeatable; default: a ladder of sizes.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="COCO-format folder: also print AP of both sides on its images.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of --data.")] = "val",
    json_path: Annotated[Path | None, typer.Option("--json", help="Write the report to this file too.")] = None,
) -> None:
    """Compare a checkpoint with its artifact, PyTorch against ONNX Runtime, stage by stage.

    Prints the largest and the 99th-percentile error of each stage and names the first one that deviates; then the exit
    status is 1.

    [bold]Example:[/] maskline-export verify runs/digits/best artifacts/digits --images photos/
    """
    from maskline_export.verify_run import run

    run(checkpoint, artifact, images or [], data, split, json_path)


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
    """Run the command; a failure that we know is one line on stderr and exit code 1."""
    try:
        app()
    except ExportError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {error}", markup=False, style="red")
        sys.exit(1)


if __name__ == "__main__":
    main()
