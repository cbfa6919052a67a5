"""The log of `run`, shown without ever holding up the server that writes it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

MOST_LINES = 1000
LAST_SECONDS = 2.0  # for the lines that are left when `run` ends


class LogPump:
    """Shows lines in a thread of its own; those that a reader who does not read leaves no room for are dropped.

    Triton waits where nobody takes its log: a stopped `less` or a full pipe would stop every request.

    Args:
        show: shows a line; may take as long as it wants.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._lines: queue.Queue[str] = queue.Queue(MOST_LINES)
        self._dropped = 0
        threading.Thread(target=self._pump, daemon=True).start()

    def say(self, line: str) -> None:
        """Show a line soon, or drop it; never waits."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Wait until all lines are shown, for seconds at most."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, LAST_SECONDS)

    def _pump(self) -> None:
        while True:
            line = self._lines.get()
            with contextlib.suppress(OSError, ValueError):  # a terminal that went away; a stream closed at the end
                self._show(line)
                dropped, self._dropped = self._dropped, 0
                if dropped:
                    self._show(f"{dropped} lines of the log are left out: their reader was too slow")
            self._lines.task_done()


@contextlib.contextmanager
def pumping(show: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Gives what takes a line; the lines are shown at the end, where somebody reads them."""
    pump = LogPump(show)
    try:
        yield pump.say
    finally:
        pump.flush()
