"""A page of its own for each test, in front of a server that answers by script."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from maskline_client.connection import Connection
from maskline_client.page.app import Asked, application
from maskline_client.page.guard import Door
from maskline_client.page.serving import listening
from PIL import Image
from unit.client.triton_double import SIZE, Server

Opened = Callable[..., Door]


def picture_with(objects: int) -> bytes:
    """A PNG in which the scripted server finds so many objects: as its last byte, behind the picture's end, says."""
    file = io.BytesIO()
    Image.new("RGB", SIZE[::-1]).save(file, "PNG")
    return file.getvalue() + bytes([objects])


@pytest.fixture
def opened(server: Server) -> Iterator[Opened]:
    """Serves the page on loopback, with the door of another host if one is named."""
    with contextlib.ExitStack() as stack:

        def serve(host: str = "127.0.0.1", *, masks: bool = True, deadline_s: float = 20.0) -> Door:
            listener = stack.enter_context(listening("127.0.0.1", 0))
            door = Door.at(host, listener.getsockname()[1])
            asked = Asked(Connection(server.url, deadline_s), "maskrcnn", masks)
            page = uvicorn.Server(uvicorn.Config(application(asked, door), log_level="warning", ws="none"))
            thread = threading.Thread(target=page.run, kwargs={"sockets": [listener]})
            thread.start()
            stack.callback(thread.join)
            stack.callback(lambda: setattr(page, "should_exit", True))
            return door

        yield serve
