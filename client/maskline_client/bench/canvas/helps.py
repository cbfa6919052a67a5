"""Whether shared memory helped: each way against plain messages, at each number in flight."""

from __future__ import annotations

from collections.abc import Sequence

from maskline_client.bench.results import Run
from maskline_client.bench.settings import Memory

# Of two runs on one machine; less than this is what the same way shows twice.
NOTABLE = 1.05


def helps(runs: Sequence[Run]) -> list[str]:
    """A line for each run through shared memory whose plain counterpart was measured too."""
    usable = [run for run in runs if not run.void]
    plain = {run.concurrency: run for run in usable if run.memory is Memory.PLAIN}
    return [
        _line(run, plain[run.concurrency])
        for run in usable
        if run.memory is not Memory.PLAIN and run.concurrency in plain
    ]


def _line(run: Run, plain: Run) -> str:
    times = run.images_per_second / plain.images_per_second
    verdict = "helps" if times > NOTABLE else "is slower" if times < 1 / NOTABLE else "makes no difference to speak of"
    latency = f"p50 {run.latency.p50_ms:.4g} ms against {plain.latency.p50_ms:.4g} ms"
    return (
        f"{run.memory} shared memory at {run.concurrency} in flight {verdict}: {times:.2f} times the images a second "
        f"of plain messages, {latency}"
    )
