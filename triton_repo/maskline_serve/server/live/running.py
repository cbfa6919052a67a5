"""Finds a running server on this machine by its port: which folder it serves, and how it is told what to load.

What a server was started with stands in its command line, which the kernel shows to its own user and to root, and to
all others too unless /proc hides it from them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from maskline_serve.errors import ServeError
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.front_door.tls import ServerTls


@dataclasses.dataclass(frozen=True)
class Running:
    """A server under explicit model control.

    Attributes:
        live: its live folder.
        door: how it is reached, with the key that lets a call change its models.
    """

    live: Path
    door: FrontDoor


def find_running(grpc_port: int, own_certificate: Path | None = None, own_key: Path | None = None) -> Running:
    """The server on this machine that listens on a port for gRPC.

    Args:
        grpc_port: that port.
        own_certificate: what our calls show a server of mutual TLS, if not its own certificate.
        own_key: the private key of that.

    Raises:
        ServeError: there is none to be seen, or its models cannot be changed.
    """
    for options in _options():
        if options.get("grpc-port") != str(grpc_port):
            continue
        if options.get("model-control-mode") != "explicit":
            raise ServeError(
                f"the server on port {grpc_port} is not under explicit model control, so its models cannot be "
                "changed; start it with `maskline-serve run --control explicit`"
            )
        key = options.get("grpc-restricted-protocol", "").rpartition("=")[2]
        tls = _tls(options, own_certificate, own_key)
        return Running(Path(options["model-repository"]).parent, FrontDoor(tls=tls, key=key))
    raise ServeError(
        f"got no tritonserver on this machine with the gRPC port {grpc_port}, expected one that `maskline-serve run "
        "--control explicit` started; check --url"
    )


def _options() -> Iterator[dict[str, str]]:
    """What each server that may be seen was started with: option -> value."""
    for path in sorted(Path("/proc").glob("[0-9]*/cmdline")):
        with contextlib.suppress(OSError):
            program, *arguments = path.read_bytes().decode(errors="replace").split("\0")
            if Path(program).name == "tritonserver":
                pairs = (text.removeprefix("--").partition("=") for text in arguments)
                yield {option: value for option, _, value in pairs}


def _tls(options: dict[str, str], own_certificate: Path | None, own_key: Path | None) -> ServerTls | None:
    """The server's TLS, of the files that it was started with."""
    if "grpc-server-cert" not in options:
        return None
    client_ca = Path(options["grpc-root-cert"]) if "grpc-root-cert" in options else None
    certificate, key = Path(options["grpc-server-cert"]), Path(options["grpc-server-key"])
    return ServerTls(certificate, key, client_ca, own_certificate, own_key)
