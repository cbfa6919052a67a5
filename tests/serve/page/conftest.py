"""The page in a real browser, before a real server: fixtures that live as long as a file's tests.

No longer: while playwright's loop runs, nothing else in the process can run one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from playwright.sync_api import Browser
from serve import standin
from support.processes.page import Desk, browsing, paging


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def link(server: TritonServer) -> Iterator[str]:
    """A page for the server that tests share."""
    with paging(server.grpc_url) as found:
        yield found


@pytest.fixture(scope="module")
def link_with_points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page for a server of a model with masks and keypoints."""
    folder = tmp_path_factory.mktemp("page")
    assemble(standin.write_artifact(folder / "artifact", standin.VARIANTS["masks and keypoints"]), folder / "served")
    with TritonServer(folder / "served", drain_s=5) as running, paging(running.grpc_url) as found:
        yield found


@pytest.fixture
def desk(browser: Browser, link_with_points: str, tmp_path: Path) -> Iterator[Desk]:
    """The page in a tab of its own; nothing may go wrong in it, and no request may leave it."""
    with browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True) as context:
        found = Desk(context.new_page(), link_with_points, tmp_path)
        yield found
        assert not found.errors
        assert all(url.startswith((link_with_points, "blob:", "data:")) for url in found.requests), found.requests
