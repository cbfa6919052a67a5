"""Authorities, and a server behind mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.front_door.tls import ServerTls
from maskline_serve.server.triton_server import TritonServer
from serve.front_door.certificates import SERVER, Authority


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that server and clients trust."""
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody here trusts."""
    return Authority(tmp_path_factory.mktemp("tls"), "others")


@pytest.fixture(scope="session")
def mutual(repository: Path, ours: Authority) -> Iterator[TritonServer]:
    """A server whose own certificate is for servers alone, so that the canary shows another; tests must not stop it."""
    server = ours.issue("server", usages=(SERVER,))
    canary = ours.issue("canary")
    tls = ServerTls(server.certificate, server.key, ours.certificate, canary.certificate, canary.key)
    with TritonServer(repository, front_door=FrontDoor(tls=tls), drain_s=5) as running:
        yield running
