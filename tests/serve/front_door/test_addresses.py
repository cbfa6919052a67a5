"""Where a server listens: gRPC where it is told to, HTTP and metrics on loopback unless told otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.front_door.tls import ServerTls
from maskline_serve.server.process import Ports, listening


@pytest.mark.parametrize(
    ("host", "http_host", "plain"),
    [
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.5", None, "127.0.0.5"),  # loopback too
        ("localhost", None, "localhost"),
        ("::1", None, "::1"),
        ("0.0.0.0", None, "127.0.0.1"),
        ("10.1.2.3", None, "127.0.0.1"),
        ("triton.example.org", None, "127.0.0.1"),
        ("::", None, "::1"),
        ("0.0.0.0", "0.0.0.0", "0.0.0.0"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
    ],
)
def test_http_and_metrics_stay_on_loopback(host: str, http_host: str | None, plain: str) -> None:
    assert FrontDoor(host, http_host).plain_host == plain


@pytest.mark.parametrize(
    ("door", "said"),
    [
        (FrontDoor(), []),
        (FrontDoor("::1"), []),
        (FrontDoor("0.0.0.0"), ["gRPC on 0.0.0.0 without TLS"]),
        (FrontDoor("0.0.0.0", tls=ServerTls(Path("certificate"), Path("key"))), []),
        (FrontDoor("127.0.0.1", "0.0.0.0"), ["HTTP and metrics on 0.0.0.0"]),
        (FrontDoor("10.1.2.3", "10.1.2.3"), ["gRPC on 10.1.2.3 without TLS", "HTTP and metrics on 10.1.2.3"]),
    ],
)
def test_a_door_that_is_open_wide_is_warned_of(door: FrontDoor, said: list[str]) -> None:
    assert [warning.partition(":")[0] for warning in door.warnings()] == said


def test_the_servers_flags_have_both_addresses() -> None:
    flags = listening("0.0.0.0", Ports(1, 2, 3), "::1")
    assert flags == [
        "--grpc-address=0.0.0.0",
        "--grpc-port=1",
        "--http-address=ipv6:::1",
        "--http-port=2",
        "--metrics-address=ipv6:::1",
        "--metrics-port=3",
    ]
