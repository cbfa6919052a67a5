"""Runs an item on this machine and keeps its result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from maskline_bench.errors import BenchmarkError
from maskline_bench.owed.item import CARD, Item, card_of, card_slug
from maskline_bench.result_file import write_json


def run_item(item: Item, results: Path, logs: Path) -> Path:
    """Run on the GPU; the result is written whole or not at all, with commit and command.

    Args:
        item: what is run.
        results: docs/benchmarks, or another folder.
        logs: where the output goes, whatever comes of it.

    Returns:
        The result's file.

    Raises:
        BenchmarkError: it failed, or took longer than it may; the text names the log.
    """
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{item.name}.log"
    with tempfile.TemporaryDirectory(prefix="maskline-owed-") as folder:
        file = Path(folder) / "result.json"
        run_command(item, item.arguments, file, log)
        result = json.loads(file.read_text(encoding="utf-8"))
    result |= {"commit": _commit(), "command": result.get("command", shown_command(item))}
    place = results / item.file.replace(CARD, card_slug(card_of(result)))
    write_json(place, result)
    return place


def run_command(item: Item, arguments: tuple[str, ...], file: Path, log: Path) -> None:
    """Run the item's module with `arguments`; raises as `run_item`."""
    command = [sys.executable, "-m", item.module, *arguments, "--json", str(file)]
    with log.open("w", encoding="utf-8") as output:
        # A session of its own: a server that it started ends with it.
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = child.wait(timeout=60 * item.minutes)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{item.name}: took more than {item.minutes} minutes; its output: {log}") from error
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if status:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise BenchmarkError(
            f"{item.name}: exit status {status}: {lines[-1] if lines else 'no text'}; its output: {log}"
        )


def shown_command(item: Item) -> str:
    """What a reader types."""
    words = (f"'{word}'" if " " in word else word for word in item.arguments)
    return " ".join(("python -m", item.module, *words))


def _commit() -> str:
    """The checkout's commit, `+` behind it where files differ; `not known` without git."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not known"
