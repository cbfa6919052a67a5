"""A server that goes away and comes back while the page is open."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskline_serve.server.triton_server import TritonServer
from playwright.sync_api import Browser
from serve import standin
from support.processes.page import Desk, paging

pytestmark = pytest.mark.triton


def test_the_page_says_so_and_goes_on(browser: Browser, repository: Path, tmp_path: Path) -> None:
    with TritonServer(repository, drain_s=1) as first:
        port, url = int(first.grpc_url.rpartition(":")[2]), first.grpc_url
        with paging(url) as link:
            desk = Desk(browser.new_page(), link, tmp_path)
            desk.choose(before_png=standin.picture(2))
            assert desk.texts("#strip button .soft") == ["2 objects"]
            assert desk.texts("#served") == [f"maskrcnn at {url}"]
            first.stop()
            desk.choose(meanwhile_png=standin.picture(3))
            desk.look_at("meanwhile.png")
            (said,) = desk.texts("#error")
            assert said.startswith(f"{url}: no server answers")
            desk.page.locator("#served.bad").wait_for()
            desk.look_at("before.png")  # what was found is still there
            desk.threshold(100)
            assert desk.texts("#objects-title") == ["0 of 2 objects"]
            desk.threshold(50)
            with TritonServer(repository, drain_s=1, grpc_port=port):
                desk.page.locator("#served:not(.bad)").wait_for()
                desk.look_at("meanwhile.png")
                desk.page.locator("#again").click()
                desk.page.locator("#strip li:nth-child(2) [data-state=found]").wait_for()
                assert desk.texts("#objects-title") == ["3 of 3 objects"]
                assert not desk.page.locator("#error").is_visible()
            assert not desk.errors
        desk.choose(last_png=standin.picture(1))
        desk.look_at("last.png")
        assert desk.texts("#error") == [
            "the page's own server does not answer; start `maskline-client page` again",
        ]
