"""The page's socket, and how its server begins and ends."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable

import uvicorn

from maskline_client.errors import ClientError
from maskline_client.page.app import Asked, application
from maskline_client.page.guard import Door

LEAVE_S = 5  # for answers under way at the end; whoever stops the page does not want to wait for a network of minutes
BACKLOG = 64


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ValueError: the port is taken, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that waits after our last end is free
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"--port: got {port}, which is in use, expected a free one; --port 0 takes one") from None
        raise ValueError(f"--host: got {host} ({error.strerror}), expected an address of this machine") from None
    return listener


def serve(asked: Asked, host: str, port: int, say: Callable[[Door], None]) -> None:
    """Serve the page until a signal comes; what is under way then gets LEAVE_S seconds.

    Args:
        asked: the served model.
        host: address to listen at.
        port: likewise; 0 takes a free one.
        say: is called once the page is there.

    Raises:
        ValueError: as `listening`.
        Stopped: the signal, once the page has ended.
    """
    with listening(host, port) as listener:
        door = Door.at(host, listener.getsockname()[1])
        config = uvicorn.Config(
            application(asked, door),
            log_level="warning",
            access_log=False,  # the first request has the token
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=LEAVE_S,
        )
        server = uvicorn.Server(config)
        ended = threading.Event()

        def run() -> None:
            try:
                server.run(sockets=[listener])
            finally:
                ended.set()

        # A thread, since uvicorn takes the signals to itself in the main one, where ours are heeded already.
        thread = threading.Thread(target=run, name="page")
        thread.start()
        try:
            say(door)
            ended.wait()  # not `join`: a thread whose join is interrupted counts as ended in Python 3.11
            raise ClientError("the page's server ended by itself; start it again, and report what stands above")
        finally:
            server.should_exit = True
            thread.join()
