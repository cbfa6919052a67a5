"""A few real steps of a recipe, timed."""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.fit import batches_from, set_up
from maskline_train.new.machine import GIB
from maskline_train.recipe import Recipe
from maskline_train.starting_weights import start_from
from maskline_train.training.prefetch import on_device
from maskline_train.training.step import make_gradients, train_step

_UNTIMED = 2  # steps; the first ones allocate
_LEAST, _MOST = 3, 10  # timed steps
_ENOUGH_S = 5.0  # of timed steps, of which more than _LEAST are taken
_PATIENCE_S = 10.0  # in all: of slow steps fewer say enough, and the next ones may have fewer images


@dataclasses.dataclass(frozen=True)
class Probe:
    """What steps took.

    Attributes:
        step_s: the median of a step, loading included.
        memory_gib: the most that was held: of the process, or of the GPU where one computes.
        range_s: of the quickest step and of the slowest: far apart where something else runs, too.
    """

    step_s: float
    memory_gib: float
    range_s: tuple[float, float]

    def describe(self) -> str:
        """E.g. `0.5 s (0.48 to 0.53)`."""
        quick, slow = self.range_s
        return f"{self.step_s:.2g} s ({quick:.2g} to {slow:.2g})"


def probe(recipe: Recipe, train_set: CocoDataset, init: Path, device: torch.device) -> Probe:
    """Train a few steps and forget them.

    Args:
        recipe: what is timed; its number of steps plays no part.
        train_set: what is learned from.
        init: as `fit` takes it.
        device: what computes.

    Raises:
        ValueError: a start that does not fit.
        torch.OutOfMemoryError: the batch is too large for the GPU.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)  # of a batch that did not fit
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, workers=0))
    processes = Processes(0, 1, device)
    state = set_up(recipe, processes, None)
    start_from(init, state.model)
    compute = make_gradients(state.model, state, recipe.training, processes)
    batches = on_device(batches_from(recipe, train_set, processes, 0), device)
    seconds = list[float]()
    while not _enough(seconds):
        started = time.perf_counter()
        report = train_step(compute, state, next(batches), recipe.training, processes)
        state.step += 1
        report.numbers.tolist()  # waits for the device
        seconds.append(time.perf_counter() - started)
    timed = seconds[min(_UNTIMED, len(seconds) - 1) :]
    return Probe(statistics.median(timed), _memory_gib(device), (min(timed), max(timed)))


def _enough(seconds: Sequence[float]) -> bool:
    """Whether these steps tell how long one takes."""
    timed = seconds[_UNTIMED:]
    if len(seconds) > 1 and sum(seconds) >= _PATIENCE_S:
        return True
    return len(timed) == _MOST or (len(timed) >= _LEAST and sum(timed) >= _ENOUGH_S)


def _memory_gib(device: torch.device) -> float:
    """The most that was held so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
