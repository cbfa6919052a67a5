"""The options by which every command reaches the server: --url, --deadline and the four of TLS, written once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from maskline_client import connection

Command = Callable[..., None]

_OPTIONS: dict[str, tuple[Any, Any]] = {  # name -> type with its option, default
    "url": (
        Annotated[str, typer.Option(help="host:port of the server's gRPC endpoint; several with commas.")],
        connection.DEFAULT_URL,
    ),
    "deadline": (
        Annotated[float, typer.Option(min=0.001, help="Seconds a call may take, retries included.")],
        connection.DEFAULT_DEADLINE_S,
    ),
    "tls": (
        Annotated[bool, typer.Option("--tls", help="Encrypt; trust the usual authorities, or those of --tls-ca.")],
        False,
    ),
    "tls_ca": (
        Annotated[Path | None, typer.Option(help="PEM file of the authorities to trust; implies --tls.")],
        None,
    ),
    "tls_key": (Annotated[Path | None, typer.Option(help="PEM file of the client's key, for mutual TLS.")], None),
    "tls_certificate": (
        Annotated[Path | None, typer.Option(help="PEM file of the client's certificate, for mutual TLS.")],
        None,
    ),
}


def with_connection(deadline_s: float = connection.DEFAULT_DEADLINE_S) -> Callable[[Command], Command]:
    """A decorator for a command that takes `connection: connection.Connection`: on the command line it has our options.

    Args:
        deadline_s: the default of --deadline.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> None:
            command(connection=_connection(**{name: given.pop(name) for name in _OPTIONS}), **given)

        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name != "connection"
        ]
        parameters = [*own, *_parameters(deadline_s)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        # Typer reads both: the names and defaults above, the types here.
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameters(deadline_s: float) -> list[inspect.Parameter]:
    """Our options as parameters of a function."""
    defaults = {name: default for name, (_, default) in _OPTIONS.items()} | {"deadline": deadline_s}
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=annotation)
        for name, (annotation, _) in _OPTIONS.items()
    ]


def _connection(
    url: str, deadline: float, tls: bool, tls_ca: Path | None, tls_key: Path | None, tls_certificate: Path | None
) -> connection.Connection:
    """What the options say; any of those of TLS asks for an encrypted connection."""
    encrypted = tls or tls_ca or tls_key or tls_certificate
    return connection.Connection(
        url, deadline, tls=connection.Tls(tls_ca, tls_key, tls_certificate) if encrypted else None
    )
