"""How a run is stopped: SIGINT (Ctrl-C) and SIGTERM are noted and acted on between two steps or evaluated images."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

ECHO_S = 2.0


class Interrupted(Exception):  # noqa: N818 (no error: the run ended as it was asked to)
    """SIGINT or SIGTERM came; the step was finished and a checkpoint written.

    Attributes:
        exit_code: what the shell expects of a process ended by the signal, 130 or 143.
    """

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name} after step {step}")
        self.exit_code = 128 + number


class NonFiniteLossError(RuntimeError):
    """A loss or gradient is NaN or infinite, which ends a run; the text gives the step, the term and advice."""

    exit_code = 1


class Signals:
    """Notes SIGINT and SIGTERM while it is open; another one, some seconds later, acts at once.

    Under torchrun one Ctrl-C arrives twice, from the terminal and from torchrun: not yet a sign of impatience.
    """

    def __init__(self, *, announce: bool = False) -> None:
        """`announce`: answer the first signal with a line on stderr."""
        self._announce, self._pid = announce, os.getpid()
        self.received = 0  # the signal's number; 0 before one came
        self._received_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        """Start to listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the former handlers back."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != self._pid:  # a loading process, which inherits this: it ends when we do
            return
        now = time.monotonic()
        if not self.received:
            self.received, self._received_at = number, now
            if self._announce:
                # Not by `print`, which a signal may interrupt in the middle of another one.
                name = signal.Signals(number).name
                with contextlib.suppress(OSError):  # nobody reads it: `tee` ends by the same Ctrl-C
                    os.write(2, f"\n{name}: ending this step or evaluation; once more ends at once\n".encode())
        elif now - self._received_at > ECHO_S:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
