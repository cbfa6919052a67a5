"""A TCP proxy whose far end can be changed while it runs, as a load balancer's is when servers are replaced."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator


class Switch:
    """Passes bytes between its own port and the server behind it, in an event loop of its own.

    Attributes:
        url: host:port where clients connect.
    """

    def __init__(self, behind: str) -> None:
        self.url = ""
        self._behind = behind
        self._ends: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def turn(self, behind: str) -> None:
        """Connect new clients to another server and cut the connections to the one before."""

        async def cut() -> None:
            self._behind = behind
            self._abort()

        asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def start(self) -> None:
        """Listen; returns when clients may come."""
        self._thread.start()
        self._ready.wait(10)

    def stop(self) -> None:
        """Cut everything and end."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._over.wait()
        server.close()
        self._abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._behind.rpartition(":")
        ends = {writer}
        with contextlib.suppress(OSError, asyncio.CancelledError):  # nobody behind it, or the end of everything
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            ends.add(far_writer)
            self._ends |= ends
            await asyncio.gather(_pass(reader, far_writer), _pass(far_reader, writer))
        self._ends -= ends
        for end in ends:
            end.close()

    def _abort(self) -> None:
        for end in self._ends:
            end.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every byte, until either side is gone."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def switching(behind: str) -> Iterator[Switch]:
    """A switch to a server at host:port, gone afterwards."""
    switch = Switch(behind)
    switch.start()
    try:
        yield switch
    finally:
        switch.stop()
