"""How often a server may be started again, and after which pause."""

from __future__ import annotations

import collections

MOST, WINDOW_SECONDS = 5, 600.0  # what fails more often than this will not be mended by another start
LONGEST_PAUSE_SECONDS = 30.0


class Restarts:
    """Restarts within the last ten minutes; the pause before one doubles with each of them."""

    def __init__(self) -> None:
        self._at: collections.deque[float] = collections.deque()

    @property
    def count(self) -> int:
        """Restarts that still count."""
        return len(self._at)

    def next_pause(self, now: float) -> float | None:
        """Seconds to wait before the next restart, which is counted; None when it would be one too many.

        Args:
            now: seconds of a monotonic clock.
        """
        while self._at and now - self._at[0] > WINDOW_SECONDS:
            self._at.popleft()
        if len(self._at) == MOST:
            return None
        self._at.append(now)
        return min(2.0 ** (len(self._at) - 1), LONGEST_PAUSE_SECONDS)
