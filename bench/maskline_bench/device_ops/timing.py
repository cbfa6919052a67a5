"""Timing on a GPU: in turn, by events, ours as replays of a CUDA graph; the machine and its copy rate."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import statistics
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

PACKAGES = ("torch", "torchvision", "numpy", "pycocotools")
_COPY_BYTES = 2**31


@dataclasses.dataclass(frozen=True)
class GpuTiming:
    """Microseconds of each call of one side."""

    microseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median microseconds."""
        return statistics.median(self.microseconds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, every call included."""
        return {
            "median_us": self.median,
            "min_us": min(self.microseconds),
            "p99_us": float(np.percentile(self.microseconds, 99)),
            "calls": len(self.microseconds),
            "microseconds": [round(value, 2) for value in self.microseconds],
        }


def captured(run: Callable[[], object]) -> Callable[[], None]:
    """`run` as the replay of a CUDA graph; raises where it synchronises, allocates or copies to the host."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()  # modules load on the first call, which a capture does not allow
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def interleave(sides: Mapping[str, Callable[[], object]], *, warmup: int, rounds: int) -> dict[str, GpuTiming]:
    """Time every side once a round, in the order given; the first `warmup` rounds are not counted."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for index in range(warmup + rounds):
        for name, run in sides.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            run()
            end.record()
            end.synchronize()
            if index >= warmup:
                found[name].append(start.elapsed_time(end) * 1e3)
    return {name: GpuTiming(tuple(values)) for name, values in found.items()}


def copy_gb_s() -> float:
    """What a copy within the GPU's memory reaches, bytes read and written; best of ten."""
    source = torch.rand(_COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    timing = interleave({"copy": lambda: target.copy_(source)}, warmup=3, rounds=10)["copy"]
    return 2 * _COPY_BYTES / min(timing.microseconds) / 1e3


def describe() -> dict[str, Any]:
    """Date, GPU with its copy rate, driver, versions: the head of the result."""
    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "gpu": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "driver": driver,
            "copy_gb_s": round(copy_gb_s(), 1),
        },
        "versions": {**{name: _version(name) for name in PACKAGES}, "cuda": torch.version.cuda},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
