"""The fixture of the client's tests: a server of its own for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from unit.client.triton_double import Script, Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own for each test."""
    with serving(Script()) as running:
        yield running
