"""The table of docs/commands.md, and the conditions of its columns."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from maskline_client import contract
from maskline_serve.server.triton_server import Control, TritonServer
from support.commands.command_lines import COMMANDS, CommandLine
from support.commands.conditions import DEAD_PROXY, PROXIES, Answer, closed_pipe, forbid, half_written, run
from support.commands.inputs import Inputs
from unit.client.triton_double import Script, serving

PAGE = Path(__file__).parents[3] / "docs" / "commands.md"
FULL_BYTES = 60
TALKING = (
    "maskline ship",
    "maskline-train ablate",
    "maskline-export",
    "maskline-serve run",
)  # on stderr, while they work


SERVING = ("maskline-serve run", "maskline-client page")  # until Ctrl-C


def table() -> dict[str, dict[str, str]]:
    """The page's table: command, condition, what it says."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()]
    (head,) = [line for line in lines if line[0] == "command"]
    rows = [line for line in lines if line[0].startswith("`maskline")]
    return {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}


TABLE = table()


def cells(*names: str) -> list[Any]:
    """Command and condition of every cell of the commands whose names begin so, but for the dashes."""
    return [
        pytest.param(command, condition, id=f"{command.name}, {condition}")
        for command in COMMANDS
        for condition, said in TABLE[command.name].items()
        if command.name.startswith(names) and said[0] != "-"
    ]


class Place:
    """A command in a folder of its own: inputs, where it writes, and how it is run."""

    def __init__(self, command: CommandLine, inputs: Inputs, root: Path) -> None:
        self.command, self.inputs, self.root = command, inputs, root
        self.out, self.temporary = root / "out", root / "tmp"
        self.out.mkdir()
        self.temporary.mkdir()

    def copied(self) -> Path:
        """A copy of what it reads."""
        return self.inputs.copied(self.command.reads, self.root / "in")

    def run(self, reads: Path | None = None, environ: dict[str, str | None] | None = None, **options: Any) -> Answer:
        reads = reads or self.copied()
        environ = {"TMPDIR": str(self.temporary), **(environ or {})}
        with self._server() as url:
            words = self.command.arguments(reads, self.out, url)
            return run(self.command, words, inputs=reads, out=self.out, environ=environ, **options)

    @contextlib.contextmanager
    def _server(self) -> Iterator[str]:
        """The address of what the command calls: the real server for `bench`, which reads statistics, and `update`."""
        if self.command.name in ("maskline-client bench", "maskline-serve update"):
            with TritonServer(self.inputs.made("repository"), drain_s=1, control=Control.EXPLICIT) as triton:
                yield triton.grpc_url
        elif self.command.name.startswith("maskline-client"):
            steps = tuple(name for name in contract.STEPS if name != "mask")
            with serving(Script(steps=steps, models=("maskrcnn", "nuclei"))) as double:
                yield double.url
        else:
            yield ""


def no_permission(place: Place) -> Answer:
    reads = place.copied()
    forbid(reads)
    return place.run(reads)


def read_only_folder(place: Place) -> Answer:
    place.out.chmod(0o555)
    try:
        return place.run()
    finally:
        place.out.chmod(0o755)


def pipe_closes(place: Place) -> Answer:
    with contextlib.contextmanager(closed_pipe)() as stdout:
        return place.run(stdout=stdout)


def all_of_these(place: Place) -> Answer:
    """No terminal of any kind, a home that cannot be made, a proxy that does not answer, and relative paths."""
    environ: dict[str, str | None] = {**dict.fromkeys(PROXIES, DEAD_PROXY), "TERM": None, "COLUMNS": "20"}
    environ |= {"HOME": "/proc/nobody", "USER": None, "LOGNAME": None}
    elsewhere = place.root / "elsewhere"
    elsewhere.mkdir()
    reads = Path(os.path.relpath(place.copied(), elsewhere))
    place.out = Path(os.path.relpath(place.out, elsewhere))
    options = {"while_it_runs": stop_once_it_serves} if place.command.name in SERVING else {}
    return place.run(reads, environ, cwd=elsewhere, **options)


def stop_once_it_serves(process: subprocess.Popen[str]) -> None:
    """Ctrl-C for a server, which does not end by itself."""
    assert process.stdout is not None
    while "Ctrl-C" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)


CONDITIONS: dict[str, Callable[[Place], Answer]] = {
    "file missing": lambda place: place.run(place.root / "nothing"),
    "no permission": no_permission,
    "full disk": lambda place: place.run(limit_bytes=FULL_BYTES),
    "read-only folder": read_only_folder,
    "Ctrl-C while it starts": lambda place: place.run(moment="start"),
    "Ctrl-C while it reads": lambda place: place.run(moment="work"),
    "Ctrl-C while it writes": lambda place: place.run(moment="writing"),
    "pipe closes": pipe_closes,
    "no terminal, no HOME, a proxy, another folder": all_of_these,
}


def check(command: CommandLine, condition: str, inputs: Inputs, root: Path) -> None:
    """Run one cell and compare it with what the page says."""
    place = Place(command, inputs, root)
    answer = CONDITIONS[condition](place)
    status, *of_a_file = TABLE[command.name][condition].split()
    lines = answer.lines if command.name.startswith(TALKING) else answer.err.splitlines()
    assert str(answer.status) == status, answer.err
    assert "Traceback" not in answer.err
    assert not half_written(root)
    assert not list(place.temporary.iterdir())
    if status in ("0", "141"):
        assert not lines
        return
    (line,) = lines
    assert line.startswith(f"{command.name.split()[0]}: ")
    assert (str(root) in line) == (of_a_file[:1] == ["file"]), line
    assert ("stopped by SIGINT" in line) == (status == "130"), line
