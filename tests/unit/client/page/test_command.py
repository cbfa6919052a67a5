"""The command `maskline-client page`: its link, its end, and what it says instead of a page."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import urllib.parse

import pytest
from maskline_client.commands.main import main
from support.processes.in_process import call
from support.processes.page import paging
from unit.client.page.conftest import picture_with
from unit.client.triton_double import Server


def test_it_serves_at_the_link_until_ctrl_c_which_ends_it_well(server: Server) -> None:
    with paging(server.url) as link:  # looks at the end
        at = urllib.parse.urlsplit(link)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)) as connection:
            connection.request("POST", "/detect", picture_with(2), {"Origin": link.rstrip("/")})
            assert connection.getresponse().status == 200


def test_beyond_loopback_the_link_has_a_token_and_stderr_a_warning(server: Server) -> None:
    with paging(server.url, "--host", "0.0.0.0") as link:
        at = urllib.parse.urlsplit(link)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().status == 403
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", at.port, timeout=60)) as connection:
            connection.request("GET", f"/?{at.query}")
            assert connection.getresponse().status == 303


def test_it_needs_no_server_to_begin() -> None:
    with paging("127.0.0.1:9"):
        pass


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--host", "192.0.2.1"],
            "--host: got 192.0.2.1 (Cannot assign requested address), expected",
        ),
        (["--url", "nowhere"], "url: got 'nowhere', expected host:port"),
        (["--tls-ca", "/nothing"], "/nothing"),
    ],
)
def test_what_it_cannot_do_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(main, "page", "--port", "0", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("maskline-client: ")
    assert said in line


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert call(main, "page", "--port", str(port)) == 2
    assert capsys.readouterr().err == (
        f"maskline-client: --port: got {port}, which is in use, expected a free one; --port 0 takes one\n"
    )


def test_without_its_packages_it_names_its_extra_in_one_line() -> None:
    code = "import sys\nsys.modules['starlette'] = sys.modules['uvicorn'] = None\n"
    code += "from maskline_client.commands.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code, "page"], capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.endswith("`pip install 'maskline[page]'`")
