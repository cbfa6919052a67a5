"""Who may ask the page's server: the page itself, in the browser of whoever has the link; nobody else.

A page of another origin can make a browser send requests here, and can call itself by a name that leads here (DNS
rebinding). So the header Host must be this machine, and Origin the page itself. Beyond loopback the link has a token,
which the first request changes for a cookie.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import secrets
import socket
import urllib.parse

from starlette.datastructures import URL, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskline_client.connection import is_loopback

TOKEN = "token"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@dataclasses.dataclass(frozen=True)
class Door:
    """Where the page is served, and what it takes to get in.

    Attributes:
        host: that it listens at.
        port: likewise.
        token: that the link must have; None on loopback.
    """

    host: str
    port: int
    token: str | None

    @classmethod
    def at(cls, host: str, port: int) -> Door:
        """The door of an address, with a new token where others can reach it."""
        return cls(host, port, None if is_loopback(host) else secrets.token_urlsafe(32))

    @property
    def link(self) -> str:
        """What to open in a browser."""
        name = socket.gethostname() if self.host in ("0.0.0.0", "::") else self.host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.port}/" + (f"?{TOKEN}={self.token}" if self.token else "")

    @property
    def cookie(self) -> str:
        """Its name: cookies of a host are those of all its ports."""
        return f"maskline_page_{self.port}"

    def is_here(self, host: str) -> bool:
        """Whether a Host header means this machine: an address, which no rebinding uses, or a name of ours."""
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        if is_loopback(name):
            return True
        if self.token is None:
            return False
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return name in {part.lower() for part in (self.host, socket.gethostname(), socket.getfqdn())}

    def opens(self, key: str | None) -> bool:
        """Whether a key is the token."""
        return self.token is None or secrets.compare_digest((key or "").encode(), self.token.encode())


class Guard:
    """Around the application: refuses in one line what is not the page's own request, and sets the headers of all."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":  # the application's begin and end; web sockets are off
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (self._instead(Request(scope)) or self._app)(scope, receive, with_headers)

    def _instead(self, request: Request) -> Response | None:
        """The answer that a request gets in the place of the application's."""
        host = request.headers.get("host", "")
        if not _is_text(host) or not self._door.is_here(host):
            return _refused(f"Host: got {host!r}, expected the address of this machine; open the link that was printed")
        if given := request.query_params.get(TOKEN):
            return self._exchange(request.url, given)
        if not self._door.opens(request.cookies.get(self._door.cookie)):
            return _refused("got no token, expected the link that `maskline-client page` printed; open that one")
        origin = request.headers.get("origin", "")
        if request.method not in ("GET", "HEAD") and urllib.parse.urlsplit(origin).netloc != host:
            return _refused(f"Origin: got {origin!r}, expected this page; open the link that was printed")
        return None

    def _exchange(self, url: URL, given: str) -> Response:
        """The token for a cookie, and the link without it: it stays in no history, and goes to nobody as a referrer."""
        if not self._door.opens(given):
            return _refused("got another token, expected that of the link that was printed; open that one")
        answer = RedirectResponse(url.path, 303)
        if self._door.token:
            # Not strict: a link out of a mail or a chat is a way in from another site.
            answer.set_cookie(self._door.cookie, self._door.token, httponly=True, samesite="lax")
        return answer


def _is_text(host: str) -> bool:
    """Whether a Host header can be one: what else is in it would end up in a link."""
    return bool(host) and not set(host) & set("/@\\?# ")


def _refused(text: str) -> Response:
    return PlainTextResponse(f"maskline-client page: {text}\n", 403)
