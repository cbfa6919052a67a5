"""Times the sides in turn and says what a run was: images a second, latencies, the share of the GEMM peak."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskline_bench.compare.sides import Side
from maskline_bench.teach import Tell

# Requests of a turn for each that is in flight: the first and the last of them find the server half idle.
FILES_A_TURN = {1: 1, 8: 1}
FILES_IN_FLIGHT = 4


@dataclasses.dataclass
class Timed:
    """The turns of one side at one k.

    Attributes:
        seconds: of each turn.
        images: of all turns.
        latencies_ms: of each file.
    """

    seconds: list[float] = dataclasses.field(default_factory=list)
    images: int = 0
    latencies_ms: list[float] = dataclasses.field(default_factory=list)

    def to_dict(self, gflop: float, peak_gflop_s: float) -> dict[str, Any]:
        """JSON-ready.

        Args:
            gflop: of an image.
            peak_gflop_s: of a matrix product in the side's type, of the same run.
        """
        rate = self.images / sum(self.seconds)
        return {
            "images": self.images,
            "images_per_second": rate,
            "p50_ms": float(np.percentile(self.latencies_ms, 50)),
            "p99_ms": float(np.percentile(self.latencies_ms, 99)),
            "share_of_gemm_peak": rate * gflop / peak_gflop_s,
            "turn_seconds": self.seconds,
            "latencies_ms": self.latencies_ms,
        }


def time_in_turn(
    sides: Sequence[Side],
    files: Sequence[bytes],
    at_once: int,
    *,
    warmup: int,
    rounds: int,
    tell: Tell,
) -> dict[str, Timed]:
    """A B A B: every side that takes k = `at_once` answers the same files once a round.

    Args:
        sides: who is timed.
        files: sent in turn.
        at_once: k.
        warmup: uncounted rounds.
        rounds: counted rounds.
        tell: called with a line a round.
    """
    found = {side.name: Timed() for side in sides if at_once in side.at_once}
    turns = itertools.cycle(files)
    number = at_once * FILES_A_TURN.get(at_once, FILES_IN_FLIGHT)
    for index in range(warmup + rounds):
        batch = list(itertools.islice(turns, number))
        for side in sides:
            if side.name not in found:
                continue
            start = time.perf_counter()
            _, latencies = side.run(batch, at_once)
            elapsed = time.perf_counter() - start
            if index >= warmup:
                found[side.name].seconds.append(elapsed)
                found[side.name].images += number
                found[side.name].latencies_ms += latencies
        gc.collect()  # between rounds, so that no side pays for another's garbage
        tell(f"{at_once} at once: round {index + 1} of {warmup + rounds}")
    return found
