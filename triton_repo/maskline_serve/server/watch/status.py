"""What `run` knows of its server, for people, load balancers and Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

# name, kind, meaning; the names are those that dashboards keep
_METRICS = (
    ("maskline_up", "gauge", "1 while the last canary image came back right, 0 otherwise"),
    ("maskline_restarts_total", "counter", "starts of the server after the first"),
    ("maskline_canary_failures_total", "counter", "canary images that did not come back, or not right"),
    ("maskline_canary_seconds", "gauge", "seconds that the last right canary image took"),
)


class Status:
    """Counts and the state of one `run`; any thread may call anything.

    The state is `starting`, `serving`, `failing` (the last canary image did not come back right), `restarting` or
    `stopping`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state, self._reason = "starting", ""
        self._restarts = self._failures = 0
        self._canary_seconds = 0.0
        self._right_at: float | None = None
        self._served: tuple[dict[str, str], ...] = ()

    def serves(self, served: Sequence[Mapping[str, str]]) -> None:
        """What the server serves now: of each repository labels of the metric `maskline_info`."""
        with self._lock:
            self._served = tuple(dict(labels) for labels in served)

    def right(self, seconds: float) -> None:
        """A canary image came back right."""
        with self._lock:
            self._state, self._reason = "serving", ""
            self._canary_seconds, self._right_at = seconds, time.monotonic()

    def wrong(self, reason: str) -> None:
        """A canary image did not come back, or not right."""
        with self._lock:
            self._state, self._reason = "failing", reason
            self._failures += 1

    def restarts(self, reason: str) -> None:
        """The server is being started again."""
        with self._lock:
            self._state, self._reason = "restarting", reason
            self._restarts += 1

    def stops(self) -> None:
        """`run` ends: requests in flight are finished, new ones are better sent elsewhere."""
        with self._lock:
            self._state = "stopping"

    def describe(self) -> dict[str, Any]:
        """The answer of `/health`, without anything that JSON lacks."""
        with self._lock:
            age = None if self._right_at is None else round(time.monotonic() - self._right_at, 1)
            return {
                "status": self._state,
                "reason": self._reason,
                "seconds_since_right_canary": age,
                "canary_seconds": round(self._canary_seconds, 3),
                "canary_failures": self._failures,
                "restarts": self._restarts,
                "served": [dict(labels) for labels in self._served],
            }

    def metrics(self) -> str:
        """The answer of `/metrics`, in Prometheus' text format."""
        with self._lock:
            values = (self._state == "serving", self._restarts, self._failures, self._canary_seconds)
            lines = []
            for (name, kind, meaning), value in zip(_METRICS, values, strict=True):
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {float(value):g}"]
            lines += ["# HELP maskline_info what is served", "# TYPE maskline_info gauge"]
            lines += [f"maskline_info{{{_labels(labels)}}} 1" for labels in self._served]
        return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    """Labels as Prometheus writes them."""
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in labels.items()
    }
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())
