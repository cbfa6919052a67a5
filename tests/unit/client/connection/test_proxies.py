"""Proxies in the environment: loopback is called directly, and an error names the variable that led elsewhere."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator

import pytest
from maskline_client import AsyncDetector, Detector, ServerUnavailable
from maskline_client.commands.health import check_server
from maskline_client.connection import Connection, proxy_variable
from unit.client.triton_double import Server, file_with

NOBODY = "http://127.0.0.1:9"
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


@pytest.fixture(params=VARIABLES)
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A variable that names a proxy where nobody is."""
    for name in (*VARIABLES, "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(request.param, NOBODY)
    return str(request.param)


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_called_directly(server: Server, host: str) -> None:
    url = server.url.replace("127.0.0.1", host)
    with Detector(url, retries=0) as detector:
        assert len(detector.detect(file_with(2))) == 2
    live = next(iter(check_server(Connection(url), deep=False)))
    assert live.error is None

    async def call() -> int:
        async with AsyncDetector(url, retries=0) as detector:
            return len(await detector.detect(file_with(2)))

    assert asyncio.run(call()) == 2


def test_an_error_names_the_variable_of_the_proxy_that_was_used(proxy: str) -> None:
    # An address for documentation (RFC 5737): nobody has it, and the proxy that refuses comes before it.
    with (
        Detector("192.0.2.1:8001", retries=0, deadline_s=20) as detector,
        pytest.raises(ServerUnavailable, match=rf"through the proxy of \${proxy} "),
    ):
        detector.detect(file_with(1))


@pytest.mark.parametrize("spared", ["192.0.2.0/24", "example.org, 192.0.2.1"])
def test_no_proxy_is_heeded(spared: str) -> None:
    environ = {"http_proxy": NOBODY, "no_proxy": spared}
    assert proxy_variable("192.0.2.1", environ) is None
    assert proxy_variable("198.51.100.1", environ) == "http_proxy"
    assert proxy_variable("www.example.org", {"http_proxy": NOBODY, "no_proxy": "example.org"}) is None


@pytest.fixture
def http_port() -> Iterator[int]:
    """A server that speaks HTTP/1 alone, as Triton's HTTP port does."""
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield listener.server_port
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_a_port_that_speaks_http_is_told_apart_from_nobody(http_port: int) -> None:
    with (
        Detector(f"127.0.0.1:{http_port}", retries=0, deadline_s=20) as detector,
        pytest.raises(ServerUnavailable, match="is it the HTTP port"),
    ):
        detector.detect(file_with(1))
