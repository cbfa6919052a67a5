"""The rule that a limit has to keep: away from what is measured, and away from what is wrong."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

SPREADS = 3.0  # standard deviations between the mean of what is measured and the limit
WRONG = 3.0  # what the wrong model shows, in limits


@dataclasses.dataclass(frozen=True)
class Quantity:
    """All measurements of one quantity of one test; see `margins.Margins` for the meaning of the fields."""

    test: str
    what: str
    side: str
    limit: float
    wrong: float | None
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of all runs."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """Standard deviation over all runs; 0 for one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def worst(self) -> float:
        """The value nearest to the limit, or furthest beyond."""
        return max(self.values) if self.side == "below" else min(self.values)

    @property
    def margin(self) -> float:
        """From the mean to the limit; negative beyond it."""
        return self.limit - self.mean if self.side == "below" else self.mean - self.limit

    def complaints(self) -> list[str]:
        """What the limit lacks; empty where it keeps the rule."""
        found = []
        if self.margin < SPREADS * self.spread or self.margin <= 0:
            wanted = f"{SPREADS:g} spreads of {self.spread:.3g} (mean {self.mean:.3g})"
            found.append(f"got a margin of {self.margin:.3g}, expected {wanted}")
        if self.side == "below" and self.wrong is not None and self.limit * WRONG > self.wrong * (1 + 1e-9):
            found.append(f"got a limit of {self.limit:.3g}, expected at most a third of the wrong {self.wrong:.3g}")
        if self.side == "above" and self.limit < SPREADS * self.spread:
            found.append(f"got a limit of {self.limit:.3g}, expected {SPREADS:g} spreads of {self.spread:.3g} from 0")
        return found


def quantities(rows: Iterable[Mapping[str, Any]]) -> list[Quantity]:
    """Rows of many runs, as `margins` writes them, gathered by test and quantity, in the order of their names."""
    gathered: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        gathered.setdefault((row["test"], row["what"]), []).append(row)
    return [
        Quantity(test, what, *(found[-1][key] for key in ("side", "limit", "wrong")), tuple(r["value"] for r in found))
        for (test, what), found in sorted(gathered.items())
    ]
