"""Versions of one model, and a server under explicit control for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from maskline_serve.server.triton_server import Control, TritonServer
from serve.live.versions import repository_of

VERSIONS = 4


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Repositories of the same name, in order of their versions."""
    folder = tmp_path_factory.mktemp("versions")
    return tuple(repository_of(folder, version) for version in range(VERSIONS))


@pytest.fixture(scope="module")
def running(versions: tuple[Path, ...]) -> Iterator[TritonServer]:
    """A server of the first version, whose models the tests of a module change."""
    with TritonServer(versions[0], control=Control.EXPLICIT, drain_s=5) as server:
        yield server
