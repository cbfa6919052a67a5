"""One session whose batch sizes alternate against a session for each size, with either search for algorithms."""

from __future__ import annotations

import statistics
import time
from typing import Any

from maskline_host.library import custom_ops_path

from maskline_bench.engines.__main__ import make_batch
from maskline_bench.engines.sessions import Sessions
from maskline_bench.made_model import MadeModel
from maskline_bench.owed.task import Device, run_task, served_artifact

# On a CPU, where there is no search and no plan of a shape, a trial of the script.
SIZES = {"cuda": (1, 2, 4, 8), "cpu": (1, 2)}
_SEARCHES = {"cuda": ("HEURISTIC", "EXHAUSTIVE"), "cpu": ("HEURISTIC",)}
_WARMUP = 3
_ROUNDS = {"cuda": 20, "cpu": 1}


def measure(made: MadeModel, device: Device) -> dict[str, Any]:
    """Median ms of a call by search, way and batch size."""
    found = {search: _both(made, device, search) for search in _SEARCHES[device]}
    return {
        "ms_a_call": found,
        "slower_by": {
            search: max(ways["one session"][size] / ways["a session each"][size] for size in ways["one session"])
            for search, ways in found.items()
        },
    }


def _both(made: MadeModel, device: Device, search: str) -> dict[str, dict[str, float]]:
    sizes = SIZES[device]
    artifact, library = served_artifact(made, device), custom_ops_path()
    one = Sessions(artifact, device, 2, library, search=search)
    each = {size: Sessions(artifact, device, 2, library, search=search) for size in sizes}
    ways = {"one session": dict.fromkeys(sizes, one), "a session each": each}
    given = {size: one.put(make_batch(made.setting, size)[0]) for size in sizes}
    seconds: dict[str, dict[int, list[float]]] = {way: {size: [] for size in sizes} for way in ways}
    for _ in range(_WARMUP + _ROUNDS[device]):
        for way, sessions in ways.items():
            for size in sizes:
                start = time.perf_counter()
                sessions[size].run(given[size])
                seconds[way][size].append(time.perf_counter() - start)
    return {
        way: {str(size): statistics.median(values[_WARMUP:]) * 1e3 for size, values in by_size.items()}
        for way, by_size in seconds.items()
    }


if __name__ == "__main__":
    run_task("owed batch_sizes", measure)
