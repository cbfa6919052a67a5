"""Shared by the benchmark scripts: interleaved timing, the machine and its peaks, memory of a process."""

from __future__ import annotations

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from maskline_client.bench.machine import describe_machine, describe_versions, now
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

PACKAGES = ("maskline", "torch", "torchvision", "numpy", "onnxruntime", "nvidia-pytriton", "pycocotools", "pillow")


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each repetition of one side."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    @property
    def p90(self) -> float:
        """90th percentile, linear between sorted values."""
        return float(np.percentile(self.seconds, 90))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, every repetition included."""
        return {
            "median_s": self.median,
            "min_s": min(self.seconds),
            "p90_s": self.p90,
            "p99_s": float(np.percentile(self.seconds, 99)),
            "repetitions": len(self.seconds),
            "seconds": list(self.seconds),
        }


def interleave(
    sides: Mapping[str, Callable[[int], object]],
    *,
    warmup: int,
    rounds: int,
    tell: Callable[[str], None],
    pause_s: float = 0.0,
    warm: bool = False,
) -> dict[str, Timing]:
    """Time every side once a round, in the order given: A B A B; the first `warmup` rounds are not counted.

    Args:
        sides: name to what is timed; called with the number of the round, warm-up included.
        warmup: uncounted rounds.
        rounds: counted rounds.
        tell: called with a line after each round.
        pause_s: idle time before each call: libraries' worker threads spin for some milliseconds after their work, and
            a short call of the next side would pay for it.
        warm: call each side once untimed before its timed call: a call of a millisecond would else be a measure of the
            caches that the side before has filled with its own, and of a processor that the pause has put to sleep.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for index in range(warmup + rounds):
        for name, run in sides.items():
            time.sleep(pause_s)
            if warm:
                run(index)
            start = time.perf_counter()
            run(index)
            elapsed = time.perf_counter() - start
            if index >= warmup:
                seconds[name].append(elapsed)
        gc.collect()  # between rounds, so that no side pays for the other's garbage
        tell(f"round {index + 1} of {warmup + rounds}" + (" (warm-up)" if index < warmup else ""))
    return {name: Timing(name, tuple(values)) for name, values in seconds.items()}


def paired_ratio(slower: Timing, faster: Timing) -> float:
    """Median over the rounds of one side's time over the other's: machine noise that lasts hits both."""
    return statistics.median(a / b for a, b in zip(slower.seconds, faster.seconds, strict=True))


def gflop(run: Callable[[], object]) -> float:
    """Billions of floating-point operations of convolutions and matrix products in `run` (2 a multiply-add)."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops()) / 1e9


def machine_peaks() -> dict[str, float]:
    """What this machine reaches on a matrix product and on a copy, with the threads torch has; best of five."""
    source, target = torch.rand(2**25), torch.empty(2**25)
    copy_s = min(_seconds(lambda: target.copy_(source)) for _ in range(5))
    return {
        "gemm_fp32_gflop_s": gemm_gflop_s("cpu", torch.float32),
        "copy_gb_s": 2 * source.numel() * source.element_size() / copy_s / 1e9,  # read and written
    }


def gemm_gflop_s(device: str, dtype: torch.dtype) -> float:
    """Of a square matrix product with the threads torch has; best of five."""
    side = 8192 if device == "cuda" else 2048
    a, b, out = (torch.rand(side, side, device=device).to(dtype) for _ in range(3))
    seconds = min(_seconds(lambda: torch.mm(a, b, out=out), device) for _ in range(5))
    return 2 * side**3 / seconds / 1e9


def _seconds(run: Callable[[], object], device: str = "cpu") -> float:
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def describe(threads: int) -> dict[str, Any]:
    """Date, machine with its peaks, versions, threads; the head of every result."""
    return {
        "when": now(),
        "machine": {**describe_machine(), **{name: round(value, 2) for name, value in machine_peaks().items()}},
        "versions": describe_versions(PACKAGES),
        "threads": threads,
    }


def print_head(console: Console, title: str, head: Mapping[str, Any]) -> None:
    """Print what `describe` found."""
    machine = head["machine"]
    console.rule(title)
    console.print(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB; {head['threads']} threads a side; "
        f"GEMM {machine['gemm_fp32_gflop_s']:.0f} GFLOP/s, copy {machine['copy_gb_s']:.1f} GB/s",
        highlight=False,
    )
    console.print(", ".join(f"{name} {version}" for name, version in head["versions"].items()), highlight=False)


def timing_table(title: str, timings: Mapping[str, Timing], columns: Mapping[str, Sequence[str]]) -> Table:
    """Median, min and p90 of each side, and further columns: heading to one cell a side."""
    table = Table(title=title, title_justify="left")
    table.add_column("side")
    for heading in ("median s", "min s", "p90 s", "rounds", *columns):
        table.add_column(heading, justify="right")
    for index, timing in enumerate(timings.values()):
        figures = (f"{value:.4g}" for value in (timing.median, min(timing.seconds), timing.p90))
        table.add_row(timing.name, *figures, str(len(timing.seconds)), *(cells[index] for cells in columns.values()))
    return table


def reset_peak(pid: int | str = "self") -> bool:
    """Forget a process's peak memory so far; False where the kernel does not let us."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def memory_mib(pid: int | str = "self") -> tuple[float, float]:
    """Peak (VmHWM) and present (VmRSS) resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "VmRSS"))}
    return kib["VmHWM"] / 1024, kib["VmRSS"] / 1024
