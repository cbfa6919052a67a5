"""Peak memory of a side, in a process that runs it alone."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from maskline_bench.compare.sides import in_process
from maskline_bench.errors import BenchmarkError
from maskline_bench.made_model import MadeModel
from maskline_bench.measure import memory_mib, reset_peak
from maskline_bench.owed.task import Device

AT_ONCE = 8


def peak_mib(name: str, made: MadeModel, device: Device) -> float:
    """MiB of a child that answers one picture, then eight at once: resident, or in use on the GPU.

    Raises:
        BenchmarkError: the child failed.
    """
    root = made.folder.parent
    command = [
        sys.executable,
        "-m",
        "maskline_bench.compare",
        "--device",
        device,
        "--made",
        str(root),
        "--peak-of",
        name,
    ]
    command += ["--quick"] if made.folder.name == "quick" else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the memory run of {name} failed: {(done.stderr.strip() or 'no text').splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def print_peak(name: str, made: MadeModel, device: Device) -> None:
    """The child's side of `peak_mib`."""
    before = _gpu_mib() if device == "cuda" else 0.0
    files = [picture.file for picture in made.pictures()]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="maskline-compare-")))
        side = stack.enter_context(in_process(name, made, device, (1, AT_ONCE), folder))
        reset_peak()
        side.run(files[:1], 1)
        side.run((files * AT_ONCE)[:AT_ONCE], AT_ONCE)
        peak = _gpu_mib() - before if device == "cuda" else memory_mib()[0]
    sys.stdout.write(f"{peak}\n")


def _gpu_mib() -> float:
    """In use on the GPU by all processes: ONNX Runtime and TensorRT take memory that torch does not count."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20
