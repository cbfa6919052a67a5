"""Runs what differs from machine to machine under many settings and seeds, and holds every limit to the rule.

Each run is a pytest process under one processor setting (`settings.py`) and one seed; what it measures is kept under
its key in --store, so that an interrupted command goes on where it was and another one adds to it. In the end the
spreads and margins are written to docs/machines.md and the raw rows to docs/benchmarks/machines.json, and the status is
1 where a test failed or a limit does not keep the rule of `margins.py`.

Run: make test-machines, or PYTHONPATH=tests python -m machines.run --few --seeds 3
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from machines.report import write_report
from machines.rule import quantities
from machines.settings import ALL, FEW, Setting

ROOT = Path(__file__).parents[2]
# The tests that train, and all others: the first and the last are what `make test` runs.
GROUPS = {
    "learns": ("-m", "learns and not long", "tests/unit/train"),
    "learns-long": ("-m", "learns and long", "tests/unit/train"),
    "others": ("-m", "not learns and not long"),
}
PYTEST = ("-q", "-p", "machines.tolerances", "-p", "no:cacheprovider", "--dist", "loadfile", "--no-loadscope-reorder")


@dataclasses.dataclass(frozen=True)
class Run:
    """One pytest process."""

    group: str
    setting: Setting
    seed: int

    @property
    def key(self) -> str:
        """Where its rows are kept."""
        return f"{self.group} {self.setting.name} seed {self.seed}"


def planned(settings: Sequence[Setting], seeds: int, groups: Sequence[str]) -> list[Run]:
    """All runs, those of seed 0 first; the others draw nothing from the seed."""
    found = [Run(group, setting, 0) for group in groups for setting in settings]
    trained = [group for group in groups if group != "others"]
    return found + [Run(group, setting, seed) for seed in range(1, seeds) for group in trained for setting in settings]


def measure(run: Run, scratch: Path, workers: int) -> dict[str, Any]:
    """The rows of one run by so many processes, and how it ended."""
    rows = scratch.resolve() / "rows.jsonl"  # some tests change the folder
    rows.unlink(missing_ok=True)
    own = {"MASKLINE_TEST_SEED": str(run.seed), "MASKLINE_MARGINS": str(rows), "PYTHONPATH": "tests"}
    command = [sys.executable, "-m", "pytest", *PYTEST, "-n", str(workers), *GROUPS[run.group]]
    with (scratch / "last_run.log").open("w") as log:
        start = time.monotonic()
        environment = {**os.environ, **run.setting.environment, **own}
        status = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log).returncode
    found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    # 0 and 1 are pytest's own: all passed, some failed. Anything else ended before its end, a crash for one.
    failed = sorted({row["failed"] for row in found if "failed" in row})
    if status not in (0, 1):
        failed.append(f"status {status}")
    kept = [row for row in found if "failed" not in row]
    return {"key": run.key, "seconds": round(time.monotonic() - start), "failed": failed, "rows": kept}


def machine() -> dict[str, str]:
    """What the numbers depend on."""
    import numpy as np
    import torch

    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds that each training starts from.")] = 3,
    few: Annotated[bool, typer.Option("--few", help="Eight settings instead of all eighteen.")] = False,
    group: Annotated[list[str] | None, typer.Option(help=f"Repeatable, of {', '.join(GROUPS)}; default: all.")] = None,
    store: Annotated[Path, typer.Option(help="Results by run; what is there is not run again.")] = Path("out/machines"),
    workers: Annotated[int, typer.Option(min=1, help="Processes a run.")] = 3,
    minutes: Annotated[float, typer.Option(help="No run starts after so long; the report says what was run.")] = 1e9,
) -> None:
    """Measure what is missing, report, and judge.

    Example: make test-machines MACHINES="--few --group learns"
    """
    store.mkdir(parents=True, exist_ok=True)
    kept = store / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done, end = {result["key"] for result in results}, time.monotonic() + 60 * minutes
    left = [run for run in planned(FEW if few else ALL, seeds, group or list(GROUPS)) if run.key not in done]
    for number, run in enumerate(left, start=1):
        if time.monotonic() > end:
            break
        print(f"{number}/{len(left)} {run.key}", end="", flush=True)  # noqa: T201
        results.append(measure(run, store, workers))
        print(f": {results[-1]['seconds']} s, failed: {results[-1]['failed'] or 'none'}", flush=True)  # noqa: T201
        with kept.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
    found = quantities(row for result in results for row in result["rows"])
    wrong = write_report(ROOT / "docs", machine(), results, found)
    for line in wrong:
        print(line, file=sys.stderr)  # noqa: T201
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
