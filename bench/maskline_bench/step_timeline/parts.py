"""Ranges of time around the parts of a training step, by hooks and wrapped calls: training knows nothing of them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from maskline_train.model import mask_rcnn
from maskline_train.training.state import TrainingState
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook

from maskline_bench.errors import BenchmarkError

TRUNK, RPN, PROPOSALS, SAMPLES = "trunk", "RPN head", "proposals", "match and sample"
ROI_ALIGN, HEADS, TARGETS, LOSSES = "RoIAlign", "heads", "targets", "losses"
BACK_TO_FEATURES, BACK_TO_PIXELS = "backward: heads, RoIAlign, RPN", "backward: trunk"
NORM, OPTIMIZER, READ = "gradient norm", "optimizer", "read of the losses"
# The forward pass, the backward pass, what follows.
PARTS = (
    *(TRUNK, RPN, SAMPLES, PROPOSALS, ROI_ALIGN, HEADS, TARGETS, LOSSES),
    *(BACK_TO_FEATURES, BACK_TO_PIXELS),
    *(NORM, OPTIMIZER, READ),
)
LANES = {"host_ms": "host", "device_ms": "device"}  # of a range: where it runs
# The calls of `MaskRCNN.forward`, by the names that its module has for them.
_FUNCTIONS = {
    "sample_anchors": SAMPLES, "sample_rois": SAMPLES, "proposal_nms": PROPOSALS, "roi_align_flat": ROI_ALIGN,
    "mask_targets": TARGETS, "keypoint_targets": TARGETS, "rpn_terms": LOSSES, "box_terms": LOSSES,
    "mask_terms": LOSSES, "keypoint_terms": LOSSES, "averages": LOSSES,
}  # fmt: skip
_METHODS = {"box_outputs": HEADS, "mask_outputs": HEADS}


def lanes_of(ranges: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lanes that a measured step has, of `LANES`."""
    return [lane for lane in LANES if lane in ranges[0]]


def spent(ranges: Sequence[Mapping[str, Any]], part: str, lane: str) -> float:
    """Ms of a part in one step: the sum of its ranges in a lane."""
    return float(sum(range_[lane][1] - range_[lane][0] for range_ in ranges if range_["part"] == part))


@dataclasses.dataclass(frozen=True)
class _Mark:
    """One moment of a step: when the host came here, and what the device will pass when it does."""

    host_s: float
    device: torch.cuda.Event | None


@dataclasses.dataclass
class Clock:
    """The ranges of one step, as the host enters and leaves them."""

    device: torch.device
    _start: _Mark | None = None
    _ranges: list[tuple[str, str, _Mark, _Mark]] = dataclasses.field(default_factory=list)

    def start(self) -> None:
        """A new step begins now; a GPU has nothing else to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self._ranges.clear()
        self._start = self.mark()

    def mark(self) -> _Mark:
        """This moment, on the current stream."""
        if self.device.type == "cpu":  # of one thread: its own seconds, without those that it waits for its turn
            return _Mark(time.process_time(), None)
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return _Mark(time.perf_counter(), event)

    def add(self, part: str, call: str, start: _Mark, end: _Mark) -> None:
        """A range between two moments."""
        self._ranges.append((part, call, start, end))

    @contextlib.contextmanager
    def range(self, part: str, call: str) -> Iterator[None]:
        """Within: a range."""
        start = self.mark()
        yield
        self.add(part, call, start, self.mark())

    def around(self, part: str, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """The same call, with a range around it."""

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.range(part, name):
                return call(*args, **kwargs)

        return timed

    def stop(self) -> dict[str, Any]:
        """The step ends now.

        Returns:
            JSON-ready: `host_ms`, the whole step; `ranges`, each a part, the call's name, and from when to when it
            ran in ms from the step's start on: `host_ms`, and on a GPU `device_ms`.
        """
        if self._start is None:
            raise BenchmarkError("clock: got stop, expected start before it")
        start, end = self._start, self.mark()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        found = [
            {"part": part, "call": call, **_between(start, first, last)} for part, call, first, last in self._ranges
        ]
        return {"host_ms": round(1e3 * (end.host_s - start.host_s), 3), "ranges": found}


def _between(start: _Mark, first: _Mark, last: _Mark) -> dict[str, list[float]]:
    lanes = {"host_ms": [round(1e3 * (mark.host_s - start.host_s), 3) for mark in (first, last)]}
    if start.device is not None:
        events = [mark.device for mark in (first, last)]
        lanes["device_ms"] = [round(start.device.elapsed_time(event), 3) for event in events if event is not None]
    return lanes


@contextlib.contextmanager
def timed_parts(state: TrainingState, clock: Clock) -> Iterator[None]:
    """Within: every part of a step of this state is a range of the clock; after it nothing is left of that.

    Raises:
        AttributeError: a call of this name is no longer part of a step.
    """
    model = state.model
    calls: list[tuple[Any, str, str]] = [
        *((mask_rcnn, name, part) for name, part in _FUNCTIONS.items()),
        *((model, name, part) for name, part in _METHODS.items()),
        *((state.optimizer, name, OPTIMIZER) for name in ("zero_grad", "step")),
        (nn.utils, "clip_grad_norm_", NORM),
    ]
    modules = [(model.backbone, TRUNK), (model.rpn_head, RPN)]
    if model.keypoint_head is not None:
        modules.append((model.keypoint_head, HEADS))
    with contextlib.ExitStack() as stack:
        for owner, name, part in calls:
            stack.enter_context(_replaced(owner, name, clock.around(part, getattr(owner, name), name)))
        for module, part in modules:
            stack.enter_context(_hooked(module, part, clock))
        stack.enter_context(_backward_in_two(model.backbone, clock))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within: another value of an attribute, which need not be the object's own."""
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


@contextlib.contextmanager
def _hooked(module: nn.Module, part: str, clock: Clock) -> Iterator[None]:
    """Within: a module's forward pass is a range."""
    started: list[_Mark] = []

    def leave(module: nn.Module, _args: Any, _result: Any) -> None:
        clock.add(part, type(module).__name__, started.pop(), clock.mark())

    before = module.register_forward_pre_hook(lambda _module, _args: started.append(clock.mark()))
    after = module.register_forward_hook(leave)
    try:
        yield
    finally:
        before.remove()
        after.remove()


@contextlib.contextmanager
def _backward_in_two(trunk: nn.Module, clock: Clock) -> Iterator[None]:
    """Within: the backward pass is two ranges, before and after the gradients of all features are there."""
    reached: list[_Mark] = []
    backward = torch.autograd.backward

    def watch(_module: nn.Module, _args: Any, features: tuple[Tensor, ...]) -> None:
        register_multi_grad_hook(tuple(features), lambda _gradients: reached.append(clock.mark()))

    def timed(*args: Any, **kwargs: Any) -> None:
        start = clock.mark()
        backward(*args, **kwargs)
        end, middle = clock.mark(), reached.pop()
        clock.add(BACK_TO_FEATURES, "backward", start, middle)
        clock.add(BACK_TO_PIXELS, "backward", middle, end)

    hook = trunk.register_forward_hook(watch)
    try:
        with _replaced(torch.autograd, "backward", timed):
            yield
    finally:
        hook.remove()
