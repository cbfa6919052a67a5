"""What a step costs besides time: launches, waits of the host for the GPU, memory."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile

from maskline_bench.errors import BenchmarkError
from maskline_bench.measure import memory_mib, reset_peak
from maskline_bench.train_step.setting import Setting
from maskline_bench.train_step.sides import make_material, make_side

# Calls of CUDA's runtime and driver that hand work to a GPU, as its profiler names them; a graph is one.
_LAUNCH = re.compile(r"cu(da)?(Launch(Cooperative)?Kernel|GraphLaunch)")
# Of torch's debug mode (c10/cuda/CUDAFunctions.cpp); switching it on warns of the mode itself, in other words.
_WAIT = "called a synchronizing CUDA operation"


def launches(run: Callable[[], object]) -> int:
    """Kernels and graphs that `run` launches."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        run()
    return count_launches(event.name for event in profiler.events() or ())


def count_launches(names: Iterable[str]) -> int:
    """How many of a profile's events are launches."""
    return sum(_LAUNCH.match(name) is not None for name in names)


def synchronisations(run: Callable[[], object]) -> int:
    """How often the host waits for the GPU in `run`, where torch sees it; a wait for the whole device is not counted.

    Ref: torch.cuda.set_sync_debug_mode.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # each one, not the first of a line
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum(_WAIT in str(warning.message) for warning in caught)


def peak_mib(side: str, setting: Setting, threads: int) -> float:
    """Peak resident MiB of a process of its own that makes two steps of one side on a CPU.

    Raises:
        BenchmarkError: the process failed.
    """
    wanted = json.dumps([side, dataclasses.asdict(setting), threads])
    command = [sys.executable, "-m", "maskline_bench.train_step", "--peak-of", wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise BenchmarkError(f"the memory run of {side} failed: {lines[-1] if lines else 'no text'}")
    return float(done.stdout.splitlines()[-1])


def print_peak(wanted: str) -> None:
    """The child's side of `peak_mib`."""
    side, setting, threads = json.loads(wanted)
    torch.set_num_threads(threads)
    steps = make_side(side, make_material(Setting(**setting)))
    reset_peak()
    steps(2)
    sys.stdout.write(f"{memory_mib()[0]}\n")
