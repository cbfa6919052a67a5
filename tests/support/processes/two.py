"""Runs a worker of the tests by one process, here, and by two gloo processes under torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

TESTS = Path(__file__).parents[2]


def by_one_and_by_two(worker: ModuleType, inputs: tuple[Path, ...], folder: Path) -> tuple[Path, Path]:
    """Run `worker.main()` with the inputs and an output folder as arguments; returns both output folders."""
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [worker.__name__, *map(str, inputs), str(one)])
        worker.main()
    torch.set_num_threads(threads)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*torchrun, str(worker.__file__), *map(str, inputs), str(two)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return one, two
