"""SIGINT (Ctrl-C), SIGTERM and SIGHUP as an exception, which unwinds what runs: nothing half-written stays."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from maskline_command.streams import Ended

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ECHO_S = 2.0  # torchrun passes on the Ctrl-C that the terminal has sent already: not yet a second one
REMIND_S, REMIND_AT_MOST_S = 0.01, 1.0


class Stopped(Ended):
    """A signal came; the status is what a shell shows of a program that it ended."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


class _Heed:
    """The handler: raises `Stopped` until it is on its way out; a second signal, seconds later, ends at once.

    Attributes:
        number: of the first signal, 0 before.
        held: nothing is raised for now.
        over: nothing is raised any more.
    """

    def __init__(self) -> None:
        self.number = 0
        self.held = self.over = False
        self._owner, self._came = os.getpid(), 0.0
        self._reminded = False
        self._sending = threading.Lock()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a loading process, which inherits this and has nothing to undo
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.raise_signal(number)
            return
        if self.over:
            return
        if self.number and not self._reminded and time.monotonic() - self._came > ECHO_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._reminded = False
        if not self.number:
            self.number, self._came = number, time.monotonic()
            threading.Thread(target=self._remind, daemon=True).start()
        if not (self.held or _imports(frame) or _unwinds()):
            raise Stopped(self.number)

    def _remind(self) -> None:
        """Send the signal again and again, until an exception has been raised where none is swallowed.

        One that came after the interpreter's last look and before a wait in C is seen when the wait ends, and the next
        one ends it. They come soon once the handler has run, or later and later where it has not.
        """
        wait = REMIND_S
        while True:
            time.sleep(wait)
            with self._sending:
                if self.over:
                    return
                wait = min(2 * wait, REMIND_AT_MOST_S) if self._reminded else REMIND_S
                self._reminded = True
                os.kill(self._owner, self.number)

    def close(self) -> None:
        """Send nothing from now on: it would meet the handlers of before."""
        self.over = True
        with self._sending:
            pass


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Heed the signals within; one that the caller has us ignore (`nohup`, a background job) stays ignored."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = [number for number in SIGNALS if before[number] is not signal.SIG_IGN]
    heed, unraisable = _Heed(), sys.unraisablehook
    for number in heeded:
        signal.signal(number, heed)
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, Stopped) else unraisable(lost)
    try:
        yield
    finally:
        heed.close()
        sys.unraisablehook = unraisable
        for number in heeded:
            signal.signal(number, before[number])


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold signals back within: for imports, and for C code whose callbacks swallow exceptions but ask `has_come`."""
    heed = _current()
    if heed is None:
        yield
        return
    heed.held = True
    try:
        yield
    finally:
        heed.held = False
    if heed.number:
        raise Stopped(heed.number)


def has_come() -> bool:
    """Whether a signal came."""
    heed = _current()
    return heed is not None and heed.number > 0


def _current() -> _Heed | None:
    handlers = (signal.getsignal(number) for number in SIGNALS)
    return next((handler for handler in handlers if isinstance(handler, _Heed)), None)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported, where an exception may vanish or become an ImportError of C code."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _unwinds() -> bool:
    """Whether the end has begun: what it still removes must not be interrupted."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Ended):
        error = error.__context__
    return error is not None
