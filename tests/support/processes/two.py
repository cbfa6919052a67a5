"""Two gloo processes: of a snippet, or of a worker of the tests, which one process runs as well.

They are forked from a process that has torch, since starting Python with it takes seconds each.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

TESTS = Path(__file__).parents[2]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["maskline_train.fit"])


def run_two(code: str, **names: Any) -> None:
    """Run the code in two processes, each with its `rank` and the names; both have to end well."""
    _in_forks(exec, [(code, {"rank": rank, **names}) for rank in range(2)])


def by_one_and_by_two(
    worker: ModuleType, inputs: tuple[Path, ...], folder: Path, *, torchrun: bool
) -> tuple[Path, Path]:
    """Run `worker.main()` with the inputs and an output folder as arguments; returns both output folders.

    The two are started by torchrun, or forked with the variables that it would set.
    """
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [worker.__name__, *map(str, inputs), str(one)])
        worker.main()
    torch.set_num_threads(threads)
    words = [*map(str, inputs), str(two)]
    if torchrun:
        _under_torchrun(worker, words)
        return one, two
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    _in_forks(_as_rank, [(worker.__name__, words, rank, port) for rank in range(2)])
    return one, two


def _in_forks(target: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> None:
    """Run the target with each of the arguments at the same time; all have to end well."""
    processes = [FORKS.Process(target=target, args=args, daemon=True) for args in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0] * len(processes)  # what they said is on stderr


def _as_rank(worker: str, words: list[str], rank: int, port: int) -> None:
    """Run the worker as one of two processes that torchrun started."""
    of_torchrun = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in of_torchrun.items()}
    sys.argv = [worker, *words]
    importlib.import_module(worker).main()


def _under_torchrun(worker: ModuleType, words: list[str]) -> None:
    """Run the worker's file by two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    result = subprocess.run(
        [*command, str(worker.__file__), *words],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
