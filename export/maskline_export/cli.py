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


@app.callback()
def _commands() -> None:
    """Keep sub-commands even while there is only one."""


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
