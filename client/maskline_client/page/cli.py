"""The command `maskline-client page`."""

from __future__ import annotations

from typing import Annotated

import typer
from maskline_command.console import results as results_console
from maskline_command.signals import Stopped
from rich.console import Console

from maskline_client.commands.connection_options import with_connection
from maskline_client.connection import Connection
from maskline_client.contract import DEFAULT_MODEL

DEFAULT_PORT = 8004  # beside the server's own, 8000 to 8003


@with_connection()
def page(
    connection: Connection,
    host: Annotated[str, typer.Option(help="Address that the page listens at; beyond loopback its link has a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = DEFAULT_PORT,
    no_masks: Annotated[
        bool, typer.Option("--no-masks", help="Boxes alone: no masks, no keypoints, and their time saved.")
    ] = False,
    model: Annotated[str, typer.Option(help="The served model's name.")] = DEFAULT_MODEL,
) -> None:
    """Serve a web page to try a served model: drop images, see what is found; until Ctrl-C.

    It needs no network but the way to the server, and the server may come and go while it is open.

    Example: maskline-client page --url 127.0.0.1:8001
    """
    try:
        from maskline_client.page.app import Asked
        from maskline_client.page.guard import Door
        from maskline_client.page.serving import serve
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}, expected it for this command; `pip install 'maskline[page]'`") from error

    def say(door: Door) -> None:
        out = results_console()
        out.print(f"a page for {model} at {connection.url}: {door.link}", soft_wrap=True)
        if door.token:
            warning = "warning: others can reach the page, and it has no TLS: docs/serving/page.md"
            Console(stderr=True, highlight=False, markup=False, emoji=False).print(warning, soft_wrap=True)
        out.print("Ctrl-C stops it")
        out.file.flush()

    try:
        serve(Asked(connection, model, not no_masks), host, port, say)
    except Stopped:
        raise typer.Exit(0) from None  # not a return: a signal that is sent again must find us on our way out
