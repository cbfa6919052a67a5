"""`/health` and `/metrics` of the `run` process itself, for load balancers, container probes and Prometheus."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from maskline_serve.errors import PortTakenError
from maskline_serve.server.watch.status import Status

REQUEST_SECONDS = 10.0  # for a client that sends its request byte by byte, or none at all


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a slow reader does not keep `run` from ending

    def __init__(self, host: str, port: int, status: Status) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.status = status
        super().__init__((host, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer `/health` or `/metrics`."""
        code, kind, text = self._answer(self.path.partition("?")[0])
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def _answer(self, path: str) -> tuple[int, str, str]:
        """Status code, content type and text."""
        status = self.server.status
        if path == "/health":
            found = status.describe()
            code = 200 if found["status"] == "serving" else 503
            return code, "application/json", json.dumps(found) + "\n"
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4", status.metrics()
        return 404, "text/plain", f"got {path}, expected /health or /metrics\n"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Probes come every few seconds: nothing is logged."""


@contextlib.contextmanager
def answering(host: str, port: int | None, status: Status) -> Iterator[str | None]:
    """Answer on a port within; gives its `host:port`, or None where no port was asked for.

    Args:
        host: address to listen on.
        port: 0 takes a free one; None answers nobody.
        status: what is answered.

    Raises:
        PortTakenError: the port is in use, or may not be taken.
    """
    if port is None:
        yield None
        return
    try:
        server = _Server(host, port, status)
    except OSError as error:
        raise PortTakenError(
            f"health port {port} on {host}: {os.strerror(error.errno or 0).lower()}; "
            "stop what uses it or choose another with --health-port (0: any free one)"
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        number = server.server_address[1]
        yield f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
    finally:
        server.shutdown()
        server.server_close()
