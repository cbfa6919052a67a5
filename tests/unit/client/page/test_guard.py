"""Who may ask the page's server: Host, Origin and token, and what every answer says to the browser."""

from __future__ import annotations

import http.client
import socket

import pytest
from maskline_client.page.guard import Door
from unit.client.page.conftest import Opened, picture_with


def ask(door: Door, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    """(status, text, headers) of one request; a POST where there is a body."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=60)
    given = {"Host": f"127.0.0.1:{door.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request("GET" if body is None else "POST", path, body, {k: v for k, v in given.items() if v})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.headers


def origin(door: Door) -> str:
    return f"http://127.0.0.1:{door.port}"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:1234", 200),  # at the end of an ssh tunnel, from another port
        ("[::1]:80", 200),
        ("evil.example", 403),  # a name that was made to lead here
        ("127.0.0.1.evil.example", 403),
        ("192.0.2.7", 403),
        ("evil.example@127.0.0.1", 403),
    ],
)
def test_the_host_must_be_this_machine(opened: Opened, host: str, status: int) -> None:
    found, text, _ = ask(opened(), "/", Host=host)
    assert found == status
    assert (f"Host: got '{host}', expected the address of this machine" in text) == (status == 403)


def test_a_page_of_another_origin_cannot_send_images(opened: Opened) -> None:
    door = opened()
    assert ask(door, "/detect", picture_with(2), Origin=origin(door))[0] == 200
    for other in ("http://evil.example", "null", "", f"http://localhost:{door.port}", "http://127.0.0.1:1"):
        status, text, _ = ask(door, "/detect", picture_with(2), Origin=other)
        assert (status, text[:32]) == (403, "maskline-client page: Origin: go")


def test_every_answer_forbids_what_the_page_does_not_need(opened: Opened) -> None:
    door = opened()
    for status, _, headers in (ask(door, "/"), ask(door, "/nothing"), ask(door, "/", Host="evil.example")):
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), status
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["access-control-allow-origin"] is None


def test_beyond_loopback_the_link_has_a_token_that_becomes_a_cookie(opened: Opened) -> None:
    door = opened("0.0.0.0")
    assert door.token is not None
    assert door.link == f"http://{socket.gethostname()}:{door.port}/?token={door.token}"
    for refused in (ask(door, "/"), ask(door, "/served"), ask(door, "/?token=guess"), ask(door, "/page.css")):
        assert refused[0] == 403
        assert door.token not in refused[1]
    status, _, headers = ask(door, f"/?token={door.token}")
    assert (status, headers["location"]) == (303, "/")
    cookie = headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax"} <= set(cookie.split("; "))
    key = cookie.split(";")[0]
    assert ask(door, "/", Cookie=key)[0] == 200
    assert ask(door, "/detect", picture_with(1), Cookie=key, Origin=origin(door))[0] == 200
    assert ask(door, "/detect", picture_with(1), Cookie=key)[0] == 403  # not from the page
    assert ask(door, "/", Cookie=f"{door.cookie}=guess")[0] == 403


def test_beyond_loopback_an_address_is_a_host_and_a_strange_name_is_none() -> None:
    door = Door("0.0.0.0", 80, "key")
    assert door.is_here("192.0.2.7:80")
    assert door.is_here("[2001:db8::1]:80")
    assert door.is_here(socket.gethostname())
    assert not door.is_here("evil.example")


def test_every_start_has_another_token_and_loopback_none() -> None:
    assert Door.at("0.0.0.0", 80).token != Door.at("0.0.0.0", 80).token
    assert Door.at("::1", 80).token is None
    assert Door.at("::1", 80).link == "http://[::1]:80/"
