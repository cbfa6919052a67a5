"""A command of the project as it is: its exit status, its parts, how many tests passed, its last lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from maskline_bench.errors import in_one_line
from maskline_bench.owed.task import Device, head
from maskline_bench.result_file import write_json

_TAIL = 60  # lines kept


def summary(text: str) -> dict[str, Any]:
    """What the output says: `== NAME: exit N` of plugins/check_gpu.sh, and pytest's last line."""
    tests = dict.fromkeys(("passed", "failed", "skipped", "error"), 0)
    for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", text):
        tests[word] += int(count)
    return {
        "parts": {name: int(status) for name, status in re.findall(r"^== (\w+): exit (\d+)$", text, re.MULTILINE)},
        "tests": tests,
        "tail": text.splitlines()[-_TAIL:],
    }


def main(
    command: Annotated[str, typer.Argument(help="A line for the shell, in the repository's root.")],
    json_file: Annotated[Path, typer.Option("--json", help="The file to write.")],
    device: Annotated[Device, typer.Option(help="Without a GPU, `cuda` is refused.")] = "cuda",
    quick: Annotated[bool, typer.Option("--quick", help="The result says that it shows nothing.")] = False,
) -> None:
    """Run a command and keep what it said.

    Example: python -m maskline_bench.owed.said 'make test-tensorrt' --json out/tensorrt.json
    """
    with in_one_line("owed said"):
        first = head(device)
        # Its `python` is this one, whoever calls: `make owed` sees to that, a test or a person may not.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        done = subprocess.run(
            command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env={**os.environ, "PATH": path},
        )  # fmt: skip
    write_json(
        json_file, {**first, "quick": quick, "command": command, "exit": done.returncode, **summary(done.stdout)}
    )


if __name__ == "__main__":
    typer.run(main)
