"""Losses and gradients of a step recorded as a CUDA graph, one for each size of batch, and launched as one.

A step in Python is some thousand launches, which take a host longer than a small batch takes the card. A graph is what
one run launched, on the same memory: it computes from what lies there when it is launched, and asks nothing of Python.
So nothing of a step that changes from one to the next may be a number of Python's: keys of the draws and pictures are
copied into the memory that was recorded, the rate is the optimizer's, which stays outside.
Ref: torch.cuda.CUDAGraph; `Constraints` and `Whole-network capture` of PyTorch's notes on CUDA semantics.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Inputs = Sequence[Tensor | None]
Losses = dict[str, Tensor]
# Notes what a work without arguments does; returns where its results are, and what does the same once more.
Recorder = Callable[[Callable[[], Losses]], tuple[Losses, Callable[[], None]]]

# Steps of a size before it is recorded: cuDNN tries its convolutions in the first, torch.compile makes its kernels, and
# every gradient gets the memory that it keeps.
SEEN = 3
# Sizes that are recorded: each holds a copy of its batch, and a few MB that describe its launches.
MOST = 32


class StepGraphs:
    """A work that is run as it is until a size has come often enough, and from there on by its recording."""

    def __init__(self, work: Callable[[Inputs], Losses], record: Recorder) -> None:
        """Record nothing yet.

        Args:
            work: reads of what changes from call to call nothing but its inputs and memory that stays where it is:
                weights, gradients, running statistics.
            record: how: `CudaRecorder`.
        """
        self._work, self._record = work, record
        self._seen: collections.Counter[tuple[object, ...]] = collections.Counter()
        self._recorded: dict[tuple[object, ...], _Recorded] = {}

    def __call__(self, inputs: Inputs) -> Losses:
        """What the work gives, until the next call overwrites it, of whatever size: recordings share memory.

        Raises:
            ValueError: the work cannot be recorded.
        """
        size = tuple(None if each is None else (each.shape, each.dtype) for each in inputs)
        self._seen[size] += 1
        if size not in self._recorded:
            if self._seen[size] <= SEEN or len(self._recorded) == MOST:
                return self._work(inputs)
            self._recorded[size] = self._recording(inputs)
        recorded = self._recorded[size]
        for held, given in zip(recorded.inputs, inputs, strict=True):
            if held is not None and given is not None:
                held.copy_(given, non_blocking=True)
        recorded.replay()
        return recorded.result

    def _recording(self, inputs: Inputs) -> _Recorded:
        held = [None if each is None else each.clone() for each in inputs]
        try:
            result, replay = self._record(lambda: self._work(held))
        except RuntimeError as error:
            reason = str(_first(error)).strip().partition("\n")[0]
            raise ValueError(f"TrainingSpec.graph: a step cannot be recorded ({reason}); set it to False") from error
        return _Recorded(held, result, replay)


def _first(error: BaseException) -> BaseException:
    """What was raised first: ending a recording that failed raises once more, and says no more than that it failed."""
    while error.__context__ is not None:
        error = error.__context__
    return error


@dataclasses.dataclass(frozen=True)
class _Recorded:
    """Memory that the recording reads and writes, and what launches it."""

    inputs: Inputs
    result: Losses
    replay: Callable[[], None]


class CudaRecorder:
    """Notes what a GPU is given to do, which does not do it yet.

    Recordings share memory for what lies between inputs and result: only one of them runs at a time.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], Losses]) -> tuple[Losses, Callable[[], None]]:
        """Record on a stream of torch's own; the work must have run before.

        Raises:
            RuntimeError: it asks the GPU something, or hands it work on another stream.
        """
        graph = torch.cuda.CUDAGraph()
        # The threads that pin memory for the loader go on meanwhile, and may.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            result = work()
        return result, graph.replay
