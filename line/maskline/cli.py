"""The command `maskline`: the steps of the other commands in one go."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from maskline_command.console import results
from maskline_command.version import version_option
from maskline_train.convert.command import (
    Channels,
    Check,
    Classes,
    Config,
    Keypoints,
    NormEps,
    Settings,
    Weights,
    ZooSettings,
)
from rich.console import Console
from rich.text import Text

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def _common(
    version: Annotated[bool, version_option("maskline")] = False,
) -> None:
    """What every command takes."""


@app.command()
def ship(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            readable=False,
            help="Weights of another framework, as `maskline-train import` reads them, or a checkpoint folder of ours.",
        ),
    ],
    repository: Annotated[Path, typer.Argument(metavar="REPO", help="Model repository to write.")],
    config: Config = None,
    classes: Classes = None,
    keypoints: Keypoints = None,
    channels: Channels = None,
    zoo_settings: ZooSettings = False,
    norm_eps: NormEps = None,
    weights: Weights = None,
    settings: Settings = None,
    check: Check = None,
    images: Annotated[
        list[Path] | None, typer.Option(help="Compare on this file or folder, repeatable; default: a ladder of sizes.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="New folder to leave the checkpoint and the artifact in; default: neither.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a repository that was changed by hand.")] = False,
) -> None:
    """From a file of weights to a model repository: import, export, verify, assemble.

    It stops at the first step that does not agree, and leaves the repository as it was. --check DIR compares PyTorch
    and ONNX Runtime with the source itself, as `maskline-train import --check` does.

    Example: maskline ship model_final.pth repository --config config.yaml --classes cat,dog
    Then: maskline-serve run repository
    """
    from maskline_train.convert.options import typed_options

    from maskline.shipping import Shipment, ship

    options = typed_options(config, classes, keypoints, channels, zoo_settings, norm_eps, settings)
    out, going_on = results(), Console(stderr=True, markup=False, emoji=False, highlight=False)
    with going_on.status("starting") as status:

        def progress(line: str) -> None:
            going_on.print(Text(line, style="dim"))
            status.update(Text(line))

        shipment = Shipment(source, repository, options, weights, check, images or (), keep, force)
        ship(shipment, lambda line: out.print(line, soft_wrap=True), progress)
    out.print(f"Next: maskline-serve run {shlex.quote(str(repository))}", soft_wrap=True)
    out.print("Then, in another terminal: maskline-client detect IMAGE --out pictures", soft_wrap=True)
