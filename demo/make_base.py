"""Makes `demo/base`: trains the base checkpoint on the training split alone, and says what it is worth.

Each step runs only when its result is not there: `python demo/make_base.py --work out/base`. About an hour on 2 cores.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import typer
from maskline_train.checkpoint import load_model, save_model

BASE = Path(__file__).resolve().parent / "base"
ROUNDS = ("digits_base", "digits_base_again", "digits_base_last")  # each starts from the one before
COMMAND = str(Path(sys.executable).parent / "maskline-train")


def main(work: Path = typer.Option(Path("out/base"), help="Folder for the data and the two runs.")) -> None:
    """Train, convert to float16, evaluate; then train the demo's recipe from nothing for comparison.

    Example: python demo/make_base.py --work out/base
    """
    data, nothing = work / "data", work / "from_nothing"
    if not data.exists():
        _train("data", "digits", str(data))
    runs: list[Path] = []
    for recipe in ROUNDS:
        start_from = ("--init", str(runs[-1] / "last")) if runs else ()
        runs.append(work / recipe)
        _train("fit", recipe, "--data", str(data), "--out", str(runs[-1]), *start_from, "--resume")
        shutil.copyfile(runs[-1] / "metrics.jsonl", BASE / f"{recipe}.jsonl")
    save_model(BASE, load_model(runs[-1] / "last"), dtype="float16")
    if not (nothing / "seconds").exists():
        start = time.perf_counter()
        _train("fit", "digits_demo", "--data", str(data), "--out", str(nothing))
        (nothing / "seconds").write_text(f"{time.perf_counter() - start:.0f}\n")
    report = {
        "recipe": ", ".join(ROUNDS),
        "command": "python demo/make_base.py",
        "machine": f"{_cpu_name()}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}",
        "minutes": round(sum(map(_training_minutes, runs)), 1),
        **_evaluate(BASE, data, work / "ap_base.json"),
        "from_nothing": {
            "recipe": "digits_demo",
            "seconds": float((nothing / "seconds").read_text()),
            **_evaluate(nothing / "last", data, work / "ap_from_nothing.json"),
        },
    }
    (BASE / "training.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))  # noqa: T201 (a script's answer)


def _train(*words: str) -> None:
    subprocess.run([COMMAND, *words], check=True)


def _evaluate(checkpoint: Path, data: Path, path: Path) -> dict[str, Any]:
    """AP of a checkpoint on the validation split."""
    _train("evaluate", str(checkpoint), "--data", str(data), "--json", str(path))
    found = json.loads(path.read_text(encoding="utf-8"))
    return {"num_images": found["num_images"], "box": found["box"], "mask": found["mask"]}


def _training_minutes(run: Path) -> float:
    """Time of the training steps alone, from the run's own log."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    batch = json.loads((run / "recipe.json").read_text(encoding="utf-8"))["training"]["total_batch"]
    seconds, before = 0.0, 0
    for line in lines:
        if line["kind"] == "train":
            seconds += (line["step"] - before) * batch / line["images_per_s"]
            before = line["step"]
    return seconds / 60


def _cpu_name() -> str:
    """The processor's name as Linux gives it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    typer.run(main)
