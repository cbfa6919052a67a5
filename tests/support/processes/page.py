"""`maskline-client page` as a process of its own, and a browser before it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from support.processes.browser import CHROMIUM, MISSING

END_S = 30.0  # of a process that has nothing under way, on two loaded cores
FINDS_MS = 60_000  # until what must appear is there: a loaded machine computes


@contextlib.contextmanager
def paging(url: str, *words: str) -> Iterator[str]:
    """The link of a page for the server at `url`; Ctrl-C must end it well, and it must have said nothing."""
    command = [sys.executable, "-m", "maskline_client.commands.main", "page", "--url", url, "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        link = process.stdout.readline().split()[-1]
        assert process.stdout.readline() == "Ctrl-C stops it\n"
        yield link
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=END_S)
        assert (process.returncode, said) == (0, "")
        assert all(line.startswith("warning: others can reach") for line in errors.splitlines()), errors
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    """The machine's own Chromium, with a camera that shows a test picture."""
    if CHROMIUM is None:
        pytest.skip(MISSING)
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-proxy-server"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags, chromium_sandbox=False)
        yield browser
        browser.close()


class Desk:
    """The page in a tab, and what a test does with it.

    Args:
        page: of playwright.
        link: of the page.
        folder: for the files that are chosen, which stay there.
    """

    def __init__(self, page: Page, link: str, folder: Path) -> None:
        self.page, self._folder = page, folder
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(FINDS_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(link)

    def choose(self, **files: bytes) -> None:
        """Pick files of these names (an underscore is a dot) and wait until each has its end."""
        had = self.page.locator("#strip li").count()
        paths = [self._folder / name.replace("_", ".") for name in files]  # bytes would travel as text
        for path, data in zip(paths, files.values(), strict=True):
            path.write_bytes(data)
        self.page.set_input_files("#files", paths)
        self.ended(had + len(files))

    def look_at(self, name: str) -> None:
        """Choose an image of the strip."""
        self.page.locator("#strip button").filter(has=self.page.get_by_text(name, exact=True)).click()
        self.page.locator(f"#name:has-text('{name}')").wait_for()

    def ended(self, count: int) -> None:
        """Wait until so many images have their end."""
        ended = "#strip button:is([data-state=found], [data-state=failed])"
        self.page.locator(f"#strip li:nth-child({count})").wait_for()
        for index in range(1, count + 1):
            self.page.locator(f"#strip li:nth-child({index}) {ended.removeprefix('#strip ')}").wait_for()

    def texts(self, selector: str) -> list[str]:
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def detections_asked(self) -> int:
        """How often the page has asked what is found in an image."""
        return sum("/detect" in url for url in self.requests)

    def threshold(self, percent: int) -> None:
        self.page.locator("#threshold").fill(str(percent))

    def pixel(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour of the canvas at a share of its width and height."""
        at = "([x, y]) => { const c = document.querySelector('#canvas'); return [...c.getContext('2d')"
        at += ".getImageData(Math.floor(x * c.width), Math.floor(y * c.height), 1, 1).data].slice(0, 3) }"
        red, green, blue = self.page.evaluate(at, [x, y])
        return red, green, blue

    def saved(self, button: str) -> bytes:
        """The file that a button saves."""
        with self.page.expect_download() as download:
            self.page.locator(button).click()
        return Path(download.value.path()).read_bytes()
