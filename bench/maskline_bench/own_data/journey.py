"""The commands from labelled pictures to a served answer, as a user types them, and the seconds that each takes."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maskline_serve.server.triton_server import TritonServer
from maskline_train.training.metrics_log import read_metrics

from maskline_bench.errors import BenchmarkError

_BIN = Path(sys.executable).parent
_ROOT = Path(__file__).parents[3]


def to_a_served_answer(place: Path, convert: str, minutes: float, say: Callable[[str], None]) -> dict[str, float]:
    """From `place/labelled` to `place/pictures`: of each command its seconds, as a user types it.

    Args:
        place: what the commands run in.
        convert: what `maskline-train data convert` is told, from `labelled` to `data`.
        minutes: of training.
        say: gets each command before it is run.

    Raises:
        BenchmarkError: a command failed, or pictures are to be cut into tiles first, which is another journey.
    """
    seconds = {}

    def run(command: str) -> str:
        say(command)
        program, *words = shlex.split(command)
        started = time.perf_counter()
        done = subprocess.run([str(_BIN / program), *words], cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"{command}: exit status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        # Where the package lies and which port is free say nothing.
        shown = command.replace(f"{_ROOT}/", "").partition(" --url")[0]
        seconds[shown] = round(time.perf_counter() - started, 1)
        return done.stdout

    run(f"maskline-train data convert {convert}")
    fit = run(f"maskline-train new data --minutes {minutes:g} --cpu").splitlines()[-1].removeprefix("Next: ")
    if not fit.startswith("maskline-train fit "):
        raise BenchmarkError(f"{place}: got `{fit}` as the next command, expected maskline-train fit")
    run(fit)
    run("maskline ship runs/data/last repository")
    started = time.perf_counter()
    with TritonServer(place / "repository") as server:
        seconds["maskline-serve run repository"] = round(time.perf_counter() - started, 1)
        run(f"maskline-client detect data/val --out pictures --url {server.grpc_url}")
    return seconds


def last_score(run: Path) -> dict[str, Any]:
    """Of a finished run: steps, and AP by its last evaluation."""
    last = [entry for entry in read_metrics(run / "metrics.jsonl") if entry["kind"] == "evaluation"][-1]
    return {key: last[key] for key in ("step", "mask_AP", "mask_AP50", "box_AP50")}
