"""stdin, stdout and stderr as a command may find them: closed, full, or with a reader that has left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO, cast


class Ended(BaseException):
    """Unwinds whatever runs, so that nothing half-written stays, and ends the command with `exit_code`.

    No Exception, no BrokenPipeError and no KeyboardInterrupt: typer and rich end those by statuses of their own.
    """

    exit_code: int


class ReaderGone(Ended):
    """What reads our stdout has left, as `head -1` does: the status is what a shell shows for SIGPIPE."""

    exit_code = 128 + signal.SIGPIPE


class _Guarded:
    """A text stream that, once it failed, goes nowhere, and tells `failed` of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop()
            self.failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._drop()
            self.failed(error)

    def _drop(self) -> None:
        """Send what is still to be written nowhere, or Python would complain of it at its end."""
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def failed(self, error: OSError) -> None:
        """Goes on: there is nobody to tell, and the work does not hang on it."""


class _Stdout(_Guarded):
    def failed(self, error: OSError) -> None:
        """Raise ReaderGone, or an OSError that names the stream."""
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from None
        raise OSError(error.errno, error.strerror, "standard output") from None


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Guard `sys.stdout` and `sys.stderr`; once where it is nested."""
    before = sys.stdout, sys.stderr
    if not isinstance(sys.stdout, _Guarded):
        sys.stdout, sys.stderr = cast(TextIO, _Stdout(sys.stdout)), cast(TextIO, _Guarded(sys.stderr))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def open_closed() -> None:
    """Open on /dev/null what the caller has closed (`>&-`): else the next file that is opened would be stdout."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the end
