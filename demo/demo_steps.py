"""Steps that remember what they were made from, so that a second demo run only repeats what changed.

A step is one command that writes one file or folder. Its key is a hash of the command, of the source files it
depends on and of the keys of the steps before it; a finished step leaves its key in `OUT/.steps/<name>`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

console = Console(highlight=False)


class StepError(RuntimeError):
    """A step's command failed; the text names the step and the command."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of the demo.

    Attributes:
        name: word used in file names.
        title: what a reader sees while it runs.
        command: the words of the command; an entry `{url}` stands for the server's gRPC address.
        output: what it writes, a file or a folder, removed before a new run.
        sources: files and folders whose content decides whether an old output still holds.
    """

    name: str
    title: str
    command: tuple[str, ...]
    output: Path
    sources: tuple[Path, ...] = ()


def digest_of(paths: Sequence[Path]) -> str:
    """A hash over names and contents of files, folders taken recursively; bytecode is left out."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            if file.suffix != ".pyc":
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Runner:
    """Runs steps in order and keeps the chain of their keys."""

    def __init__(self, out: Path) -> None:
        self._marks = out / ".steps"
        self._marks.mkdir(parents=True, exist_ok=True)
        self._chain = ""
        self.seconds: dict[str, float] = {}

    def all_done(self, steps: Sequence[Step]) -> bool:
        """True when every one of the steps, run next in this order, would be reused."""
        chain = self._chain
        for step in steps:
            if not self._is_done(step, chain):
                return False
            chain = _key(step, chain)
        return True

    def _is_done(self, step: Step, chain: str) -> bool:
        """True when the step's output is there and was made from the same things."""
        mark = self._marks / step.name
        return step.output.exists() and mark.exists() and mark.read_text().split()[0] == _key(step, chain)

    def run(self, step: Step, url: str = "") -> None:
        """Run a step, or say that its result is reused.

        Raises:
            StepError: the command failed; nothing is marked as done.
        """
        key, mark = _key(step, self._chain), self._marks / step.name
        if self._is_done(step, self._chain):
            self.seconds[step.name] = float(mark.read_text().split()[1])
            console.print(f"[green]✓[/] {step.title} [dim](reused)[/]")
        else:
            console.rule(f"[bold]{step.title}", align="left")
            command = [word.format(url=url) for word in step.command]
            console.print(f"[dim]$ {' '.join([Path(command[0]).name, *command[1:]])}[/]", soft_wrap=True)
            self.seconds[step.name] = _execute(step, command)
            mark.write_text(f"{key} {self.seconds[step.name]:.1f}\n")
            console.print(f"[green]✓[/] {step.title} [dim]({self.seconds[step.name]:.0f} s)[/]")
        self._chain = key


def _key(step: Step, chain: str) -> str:
    """What the step would be made from if it ran after the steps whose last key is `chain`."""
    text = "\0".join([chain, *step.command, digest_of(step.sources)])
    return hashlib.sha256(text.encode()).hexdigest()


def _execute(step: Step, command: list[str]) -> float:
    """Run the command with a clean output path; returns the seconds it took."""
    if step.output.is_dir():
        shutil.rmtree(step.output)
    else:
        step.output.unlink(missing_ok=True)
    start = time.perf_counter()
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise StepError(f"{step.title}: `{' '.join(command)}` ended with status {status}; its own message is above")
    return time.perf_counter() - start
