"""One plain HTTP request, exactly as it is written: no library tidies the path."""

from __future__ import annotations

import dataclasses
import http.client


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes


def ask(url: str, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
    """Send it to `host:port`; a POST has an empty JSON object."""
    host, _, port = url.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()
