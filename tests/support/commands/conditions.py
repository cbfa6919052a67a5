"""What may lie around a command, as a real process has it: no permission, a full disk, Ctrl-C, a closed pipe."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from support.commands.command_lines import CommandLine

TESTS = Path(__file__).parents[2]
CONFINED = str(Path(__file__).with_name("confined.py"))
LIMIT_S = 240.0
DEAD_PROXY = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "grpc_proxy")


@dataclasses.dataclass(frozen=True)
class Answer:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said on stderr, but for the progress lines of the exporter and of `ablate`."""
        return [
            line for line in self.err.splitlines() if line.startswith(("maskline-", "maskline:")) or "Traceback" in line
        ]


def run(
    command: CommandLine,
    arguments: list[str],
    *,
    moment: str = "",
    inputs: Path = Path("/nowhere"),
    out: Path = Path("/nowhere"),
    environ: dict[str, str | None] | None = None,
    cwd: Path | None = None,
    stdout: int = subprocess.PIPE,
    limit_bytes: int | None = None,
    while_it_runs: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> Answer:
    """Run a command as a process of its own.

    Args:
        command: which.
        arguments: its words.
        moment: where Ctrl-C comes: "start", "work", "writing"; "" sends none.
        inputs: what it reads, for `moment`.
        out: where it writes, for `moment`.
        environ: changes to the environment; None takes a variable away.
        cwd: where it starts.
        stdout: what its stdout is.
        limit_bytes: that no file of it may exceed, as on a full disk.
        while_it_runs: is called with the process.
    """
    changed: dict[str, str | None] = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(TESTS),
        "PYTHONUNBUFFERED": None,
    }
    changed |= environ or {}
    process = subprocess.Popen(
        [sys.executable, CONFINED, moment, str(limit_bytes or 0), str(inputs), str(out), command.module, *arguments],
        env={name: value for name, value in changed.items() if value is not None},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # no terminal, as under cron
    )
    killer = threading.Timer(LIMIT_S, process.kill)
    killer.start()
    try:
        while_it_runs(process)
        said, errors = process.communicate()
    finally:
        killer.cancel()
        process.kill()
    return Answer(process.returncode, said or "", errors)


def closed_pipe() -> Iterator[int]:
    """The end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def forbid(folder: Path) -> None:
    """Take the right to read from every file below."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0)


def half_written(out: Path) -> list[str]:
    """Hidden names below a folder: what our commands write under before it has its name."""
    return [str(path.relative_to(out)) for path in out.rglob(".*")]
