"""`maskline-serve update`: finds the server and says what was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tritonclient import grpc as triton

from maskline_serve.errors import ServeError
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server.live.control import ModelControl
from maskline_serve.server.live.folder import LiveFolder
from maskline_serve.server.live.running import find_running
from maskline_serve.server.live.update import Updated, update


def update_server(
    repository: Repository,
    url: str,
    timeout_s: float,
    drain_s: float,
    show: Callable[[str], None],
    own_certificate: Path | None = None,
    own_key: Path | None = None,
) -> str:
    """Replace a model in a running server; returns what was done, in a line.

    Args:
        repository: what to serve.
        url: host:port of the gRPC endpoint of a server that `maskline-serve run` started on this machine.
        timeout_s: how long one model may take to load.
        drain_s: how long the old version's requests are waited for.
        show: told what is being done.
        own_certificate: what our calls show a server of mutual TLS, if not the server's own.
        own_key: its private key.

    Raises:
        ServeError: no such server, or the update failed: what was served before is served still.
    """
    running = find_running(_port(url), own_certificate, own_key)
    live = LiveFolder(running.live)
    with triton.InferenceServerClient(**running.door.client_arguments(url)) as client:
        done = update(repository, live, ModelControl(client, running.door.headers, timeout_s), show, drain_s)
    return _told(repository, url, done)


def _port(url: str) -> int:
    """The port of host:port."""
    port = url.rpartition(":")[2]
    if not port.isdecimal():
        raise ServeError(f"--url: got {url!r}, expected host:port, e.g. 127.0.0.1:8001")
    return int(port)


def _told(repository: Repository, url: str, done: Updated) -> str:
    """What an update did, in a line."""
    if done.before is None:
        return f"{url} serves {repository.name} {repository.revision} already; nothing was done"
    what = f"{repository.name} {repository.revision}"
    what += f" in place of {done.before}" if done.before else ", which is new to it"
    times = f"loaded and proven in {done.loading_s:.1f} s, switched in {done.switching_s:.1f} s"
    gone = f", the old version gone after {done.draining_s:.1f} s" if done.before else ""
    late = f"; requests were still in {', '.join(done.lingering)}, and are answered" if done.lingering else ""
    return f"{url} serves {what}: {times}{gone}{late}"
