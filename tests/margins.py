"""Numbers that differ with the processor, the threads and the seed: measured against a limit, and recorded.

`make test-machines` runs the tests that use this under many settings and seeds and holds each limit to one rule: from
what is usually measured it is at least three standard deviations away, and what the untrained or the wrong model shows
is at least three times the limit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

# Where a test that trains starts: `make test-machines` runs it from several.
SEED = int(os.environ.get("MASKLINE_TEST_SEED", "0"))
_RECORD = os.environ.get("MASKLINE_MARGINS")  # a file of JSON lines; without it nothing is recorded


class Margins:
    """The measured quantities of one test."""

    def __init__(self, test: str) -> None:
        self.test = test

    def below(self, what: str, value: float, limit: float, wrong: float | None = None) -> None:
        """An error, whose best value is 0.

        Args:
            what: the name of the quantity, with its unit.
            value: measured now.
            limit: what it has to stay below.
            wrong: what an untrained or wrong model shows; at least three times the limit.
        """
        self._record(what, value, limit, wrong, "below")
        assert value < limit, f"{what}: got {value:.4g}, expected less than {limit:.4g}"

    def above(self, what: str, value: float, limit: float) -> None:
        """A gain of one trained model over another, 0 where the claim is wrong."""
        self._record(what, value, limit, 0.0, "above")
        assert value > limit, f"{what}: got {value:.4g}, expected more than {limit:.4g}"

    def _record(self, what: str, value: float, limit: float, wrong: float | None, side: str) -> None:
        if _RECORD is None:
            return
        row = {"test": self.test, "what": what, "value": float(value), "limit": limit, "wrong": wrong, "side": side}
        with Path(_RECORD).open("a") as file:
            file.write(json.dumps(row) + "\n")
