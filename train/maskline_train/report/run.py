"""What is known of a run: from its folder, and of the machine that it ends on."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from maskline_train.processor import cpu_info
from maskline_train.training.metrics_log import LOG, METRICS, read_metrics

_BEGINNING = re.compile(r"^\S+ \S+ ((?:started|resumed) .*)$", re.MULTILINE)  # behind date and time


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that has been evaluated.

    Attributes:
        folder: of the run.
        recipe: `recipe.json`.
        metrics: the entries of `metrics.jsonl`.
        beginnings: what `train.log` says of where it started, and where it was resumed.
        recipe_name: as `fit` was told it; None where that is not known.
        seconds: that its last `fit` took; None where that is not known.
    """

    folder: Path
    recipe: dict[str, Any]
    metrics: list[dict[str, float | str]]
    beginnings: tuple[str, ...]
    recipe_name: str | None = None
    seconds: float | None = None

    @property
    def steps(self) -> int:
        """Of the recipe."""
        return int(self.recipe["training"]["steps"])


def read_run(folder: Path, recipe_name: str | None = None, seconds: float | None = None) -> Run:
    """What `fit` has left in its folder.

    Raises:
        OSError: a file is missing.
    """
    return Run(
        folder,
        json.loads((folder / "recipe.json").read_text(encoding="utf-8")),
        read_metrics(folder / METRICS),
        tuple(_BEGINNING.findall((folder / LOG).read_text(encoding="utf-8"))),
        recipe_name,
        seconds,
    )


def run_of(checkpoint: Path) -> Run | None:
    """The run that a checkpoint belongs to: OUT of OUT/last, OUT/best and OUT/checkpoints/step-...; None of others."""
    for folder in (checkpoint.absolute().parent, checkpoint.absolute().parent.parent):
        if all((folder / name).is_file() for name in ("recipe.json", METRICS, LOG)):
            return read_run(folder)
    return None


def machine() -> str:
    """Processor, cores, GPU and PyTorch, in words."""
    parts = [f"{cpu_info('model name') or platform.machine()}, {len(os.sched_getaffinity(0))} cores"]
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}")
    return "; ".join([*parts, f"PyTorch {torch.__version__}"])
