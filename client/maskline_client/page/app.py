"""What the page's server answers: the files of the page, what is served, and what is found in an image."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from maskline_coco.errors import ImageError
from maskline_coco.image_limits import LIMITS, check_bytes
from maskline_command.ending import error_line
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from maskline_client.async_detector import AsyncDetector
from maskline_client.connection import CONTRACT_S, Connection
from maskline_client.detector import IN_FLIGHT
from maskline_client.errors import (
    ClientError,
    ContractMismatch,
    DeadlineExceeded,
    InvalidImage,
    ServerUnavailable,
)
from maskline_client.page.answer import to_browser
from maskline_client.page.guard import Door, Guard

STATUS = {InvalidImage: 422, ServerUnavailable: 503, DeadlineExceeded: 504, ContractMismatch: 502}  # of HTTP
LARGER = 413


class Asked:
    """The requests about one served model.

    Args:
        connection: to its servers.
        model: its name.
        masks: False: boxes alone.

    Raises:
        ValueError: a file of TLS cannot be read.
    """

    def __init__(self, connection: Connection, model: str, masks: bool) -> None:
        self._connection, self._name, self._masks = connection, model, masks
        self._under_way = 0
        for one in connection.each():  # files of TLS that cannot be read are said before the page is there
            one.client_arguments()

    @contextlib.asynccontextmanager
    async def connected(self, _: Starlette) -> AsyncIterator[None]:
        """The lifespan of the application: one connection for all requests, made in the loop that uses it."""
        at = self._connection
        self._detector = AsyncDetector(at.url, model=self._name, deadline_s=at.deadline_s, tls=at.tls)
        async with self._detector:
            yield

    async def served(self, _: Request) -> Response:
        """Whether the server answers and what it is, as JSON: `title` or `error`; and the limits of a file."""
        limits = {"url": self._connection.url, "max_bytes": LIMITS.max_bytes}
        # A connection of its own: the common one may know the model from before, and so not ask.
        once = AsyncDetector(
            self._connection.url,
            model=self._name,
            deadline_s=min(self._connection.deadline_s, CONTRACT_S),
            retries=0,
            tls=self._connection.tls,
        )
        try:
            async with once:
                identity = (await once.model()).identity
        except ClientError as error:
            return JSONResponse({**limits, "error": error_line(error)})
        return JSONResponse({**limits, "title": f"{identity.name} at {self._connection.url}", "about": str(identity)})

    async def detect(self, request: Request) -> Response:
        """What is found in the image that is the body of the request, or why it is not, as JSON with `error`."""
        if self._under_way >= IN_FLIGHT:
            return _failed(f"got more than {IN_FLIGHT} images at a time, expected fewer; wait for an answer", 503)
        self._under_way += 1
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._connection.deadline_s):
                data = await _body(request)
            return JSONResponse(await self._found(data, began, picture="picture" in request.query_params))
        except TimeoutError:
            return _failed("the image did not arrive in time, expected it sooner; send it again", 408)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except ImageError as error:
            return _failed(error_line(error), LARGER)
        except ClientError as error:
            return _failed(error_line(error), next((STATUS[kind] for kind in STATUS if isinstance(error, kind)), 502))
        finally:
            self._under_way -= 1

    async def _found(self, data: bytes, began: float, *, picture: bool) -> dict[str, Any]:
        """Ask the server; the times are in ms: there and back, and all else from the head of the request on."""
        sent = time.perf_counter()
        found = await self._detector.detect(data, masks=self._masks)
        got = time.perf_counter()
        model = await self._detector.model()
        served = model if self._masks else model.boxes_alone()
        answer = await asyncio.to_thread(to_browser, data, found, served, picture=picture)
        ended = time.perf_counter()
        return {**answer, "ms": {"server": 1000 * (got - sent), "page": 1000 * (ended - began - (got - sent))}}


def application(asked: Asked, door: Door) -> Starlette:
    """The page's server."""
    return Starlette(
        routes=[
            Route("/served", asked.served),
            Route("/detect", asked.detect, methods=["POST"]),
            Route("/report.css", _report_css),
            Mount("/", StaticFiles(packages=[("maskline_client.page", "static")], html=True)),
        ],
        middleware=[Middleware(Guard, door=door)],
        lifespan=asked.connected,
    )


async def _report_css(_: Request) -> Response:
    """The colours and the type of our reports, which the page shares."""
    return FileResponse(Path(str(files("maskline_show").joinpath("page.css"))), media_type="text/css")


async def _body(request: Request) -> bytes:
    """The request's body; what is larger than the server takes is refused before all of it is there.

    Raises:
        ImageError: it is.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        check_bytes("the image", int(length), LIMITS)
    data = bytearray()
    async for part in request.stream():
        data += part
        check_bytes("the image", max(1, len(data)), LIMITS)
    return bytes(data)


def _failed(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)
