"""What libFuzzer says of a run, read from its log, and the table of many runs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

_EXECUTED = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)
_PEAK = re.compile(r"^stat::peak_rss_mb: +(\d+)", re.MULTILINE)
_KEPT = re.compile(r"Test unit written to (\S+)")
# The line that says what is wrong, by who found it: Python, a sanitizer, libFuzzer itself.
_REASON = re.compile(
    r"(?:Uncaught Python exception: ===\n(?P<python>.+)|(?P<other>(?:\S+ runtime error: |==\d+==ERROR: |"
    r"==\d+== ERROR: libFuzzer: ).+))"
)


@dataclasses.dataclass(frozen=True)
class Result:
    """One target's run.

    Attributes:
        target: its name.
        executions: how many inputs it had.
        seconds: with the start.
        peak_mib: of the process.
        findings: what was found, a line each, with the input that was kept and how to repeat it.
    """

    target: str
    executions: int
    seconds: float
    peak_mib: int
    findings: tuple[str, ...]

    @property
    def rate(self) -> float:
        """Executions a second."""
        return self.executions / max(self.seconds, 1e-9)


def read_result(target: str, log: Path, status: int, seconds: float) -> Result:
    """The result of one process.

    Args:
        target: its name.
        log: what libFuzzer printed.
        status: of its process.
        seconds: it took.
    """
    text = log.read_text(errors="replace")
    executed, peak, kept = (pattern.search(text) for pattern in (_EXECUTED, _PEAK, _KEPT))
    findings = []
    if status != 0:
        reason = _REASON.search(text)
        said = (reason["python"] or reason["other"]) if reason else f"status {status}, see {log}"
        how = f"; repeat: make fuzz TARGET={target} INPUT={kept[1]}" if kept else f"; see {log}"
        findings.append(f"{said[:300]}{how}")
    return Result(
        target,
        int(executed[1]) if executed else 0,
        round(seconds, 1),
        int(peak[1]) if peak else 0,
        tuple(findings),
    )


def added_up(parts: Sequence[Result], complaints: Sequence[str]) -> Result:
    """The result of a target, of its processes one after the other.

    Args:
        parts: one at least.
        complaints: what else was found wrong afterwards.
    """
    return Result(
        parts[0].target,
        sum(part.executions for part in parts),
        round(sum(part.seconds for part in parts), 1),
        max(part.peak_mib for part in parts),
        (*complaints, *(finding for part in parts for finding in part.findings)),
    )


def table(results: list[Result]) -> str:
    """A line a target."""
    lines = [f"{'target':24}{'executions':>12}{'a second':>10}{'seconds':>9}{'findings':>10}"]
    for row in results:
        lines.append(f"{row.target:24}{row.executions:>12}{row.rate:>10.0f}{row.seconds:>9.1f}{len(row.findings):>10}")
    return "\n".join(lines)
