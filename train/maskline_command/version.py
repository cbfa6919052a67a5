"""The option --version, which every command has."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import typer


def version_option(program: str) -> Any:
    """The option of a program: prints its name and the release, and ends the command."""

    def say(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {importlib.metadata.version('maskline')}")
            raise typer.Exit

    return typer.Option("--version", callback=say, is_eager=True, help="Print the version and exit.")
