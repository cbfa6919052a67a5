"""Decodes files in processes of their own, several at a time."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Mapping

from ..images import InvalidImageError
from ..resizing import Size, UInt8
from .process import DecoderError, DecoderProcess


class DecoderPool:
    """Starts processes as they are needed, up to a number; one that ended is replaced by the next file.

    Args:
        number: of processes, at most.
        parameters: of config.pbtxt.
        warn: gets a line for the log when a process ended over a file.

    Attributes:
        said: by the first process, see `DecoderProcess`.

    Raises:
        DecoderError: no process can be started.
    """

    def __init__(self, number: int, parameters: Mapping[str, str], warn: Callable[[str], None]) -> None:
        self._parameters, self._warn = parameters, warn
        self._free = threading.BoundedSemaphore(number)
        first = self._started()
        self.said = first.said
        self._waiting = collections.deque([first])

    def decode(self, file: bytes) -> tuple[UInt8, Size]:
        """The resized picture of one file, [h,w,3] uint8 RGB, and the size it has in the file; from any thread.

        Raises:
            InvalidImageError: the file is refused, whatever it did to the process that read it.
            DecoderError: anything that is not the file's fault.
        """
        with self._free:
            process = self._next()
            try:
                return process.decode(file)
            except (InvalidImageError, DecoderError) as error:
                if not process.waits():
                    self._warn(
                        f"process {process.pid}, which decodes, has ended; the next file starts another: {error}"
                    )
                raise
            finally:
                if process.waits():
                    self._waiting.append(process)

    def close(self) -> None:
        """End the processes; no file may be under way."""
        while self._waiting:
            self._waiting.pop().end()

    def _next(self) -> DecoderProcess:
        """The one that was used last: those that are not needed sleep on."""
        while True:
            try:
                process = self._waiting.pop()
            except IndexError:
                return self._another()
            if process.waits():
                return process
            process.end()

    def _another(self) -> DecoderProcess:
        """One more; the log has a line where it is confined otherwise than the first, which the log describes."""
        made = self._started()
        if made.said != self.said:
            self._warn(f"process {made.pid}, which decodes, is confined otherwise: refused: {made.said['refused']}")
        return made

    def _started(self) -> DecoderProcess:
        try:
            return DecoderProcess(self._parameters)
        except (DecoderError, OSError) as error:  # OSError: no open file is left for its sockets
            raise DecoderError(f"no process that decodes can be started: {error}") from error
