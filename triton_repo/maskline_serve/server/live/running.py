"""Finds a running server on this machine by its port: which folder it serves, and how it is told what to load.

What a server was started with stands in its command line, which the kernel shows to its own user and to root.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from maskline_serve.errors import ServeError

_EXPLICIT = "--model-control-mode=explicit"
_RESTRICTED = "--grpc-restricted-protocol="
_MODEL_CONTROL = "model-repository"
_PREFIX = "triton-grpc-protocol-"  # what Triton puts before the key of a restriction, in the header


@dataclasses.dataclass(frozen=True)
class Running:
    """A server under explicit model control.

    Attributes:
        live: its live folder.
        headers: what lets a call change its models.
    """

    live: Path
    headers: dict[str, str]


def find_running(grpc_port: int) -> Running:
    """The server on this machine that listens on a port for gRPC.

    Raises:
        ServeError: there is none to be seen, or its models cannot be changed.
    """
    for arguments in _command_lines():
        if f"--grpc-port={grpc_port}" not in arguments:
            continue
        if _EXPLICIT not in arguments:
            raise ServeError(
                f"the server on port {grpc_port} is not under explicit model control, so its models cannot be "
                "changed; start it with `maskline-serve run --control explicit`"
            )
        (models,) = [Path(text.partition("=")[2]) for text in arguments if text.startswith("--model-repository=")]
        return Running(models.parent, _headers(arguments))
    raise ServeError(
        f"got no tritonserver on this machine with the gRPC port {grpc_port}, expected one that `maskline-serve run "
        "--control explicit` started; check --url"
    )


def _command_lines() -> Iterator[list[str]]:
    """What each server that may be seen was started with."""
    for path in sorted(Path("/proc").glob("[0-9]*/cmdline")):
        with contextlib.suppress(OSError):
            arguments = path.read_bytes().decode(errors="replace").split("\0")
            if Path(arguments[0]).name == "tritonserver":
                yield arguments


def _headers(arguments: list[str]) -> dict[str, str]:
    """The header that opens model control, where the command line restricts it."""
    for text in arguments:
        protocols, _, secret = text.removeprefix(_RESTRICTED).partition(":")
        if text.startswith(_RESTRICTED) and _MODEL_CONTROL in protocols.split(","):
            key, _, value = secret.partition("=")
            return {_PREFIX + key: value}
    return {}
