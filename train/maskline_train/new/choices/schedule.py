"""How many images a step, how many steps: what the machine does in the time that is given."""

from __future__ import annotations

import math

from maskline_command.wording import counted

from maskline_train.new.choices.choice import Choice
from maskline_train.new.machine import Machine
from maskline_train.new.probe import Probe
from maskline_train.new.survey import Survey

# With fewer steps in the time, fewer images in each and then smaller pictures give more AP, by what
# docs/data/your_data.md measured; with more, gradients of several images are worth their time.
ENOUGH_STEPS = 200
LEAST_STEPS = 60  # with fewer, the last layers, which are new, have hardly moved
MOST_PASSES = 400  # over the set: by then it is known by heart
_EVALUATIONS = 3
_MOST_EVALUATED = 200  # images in each
_EVALUATED_SHARE = 1 / 3  # of the time, at most
_GPU_IMAGE_GIB = 4.0  # of ResNet-50-FPN at 800 x 1333 in bf16, with room to spare


def times(passes: float) -> str:
    """How often, as a reader wants it: 0.25, 3.4, 120."""
    return f"{passes:.0f}" if passes >= 10 else f"{passes:.2g}"


def batch_choices(found: Survey, machine: Machine) -> list[Choice]:
    """Images a step, workers, precision, without any measurement."""
    shown = len(found.sizes) - found.num_empty
    fits, reason = 4, "More would make slower steps and fewer of them; fewer make their gradients too different."
    if machine.gpu:
        fits = max(1, min(8, int(machine.gpu_memory_gib / _GPU_IMAGE_GIB)))
        reason = f"What {machine.gpu_memory_gib:.0f} GiB hold, 8 at most."
    batch = min(fits, shown)
    if batch < fits:
        reason = f"More than there are: {counted(shown, 'picture')} with objects."
    workers = min(8, machine.cores - 1) if machine.gpu else 0
    loads = "The GPU computes while these load." if workers else "Loading takes a small part of a step."
    precision = "The device multiplies bf16 faster." if machine.bf16 else "This device has no fast bf16."
    return [
        *batch_of(batch, reason),
        Choice("training.workers", workers, loads),
        Choice("training.amp", "bf16" if machine.bf16 else "off", precision),
    ]


def batch_of(batch: int, reason: str) -> list[Choice]:
    """So many images a step, whose rate is the same for any number."""
    return [
        Choice("training.total_batch", batch, reason),
        Choice("training.reference_batch", batch, "base_lr is the rate of this batch."),
    ]


def steps_in_time(batch: int, step_s: float, minutes: float, num_evaluated: int) -> float:
    """How many steps the time holds beside evaluations.

    Args:
        batch: images a step.
        step_s: seconds a step.
        minutes: that training may take, its evaluations included.
        num_evaluated: images of the validation split.
    """
    evaluated, image_s = _each_evaluation(batch, step_s, minutes, num_evaluated)
    return (60 * minutes - _EVALUATIONS * evaluated * image_s) / step_s


def _each_evaluation(batch: int, step_s: float, minutes: float, num_evaluated: int) -> tuple[int, float]:
    """How many images it has, and the seconds of one."""
    image_s = step_s / batch / 3  # forward alone, about a third of a step
    affordable = int(60 * minutes * _EVALUATED_SHARE / (_EVALUATIONS * image_s))
    return max(1, min(num_evaluated, _MOST_EVALUATED, affordable)), image_s


def batch_in_time(batch: int, step_s: float, minutes: float, num_evaluated: int) -> int:
    """How many images a step may have for `ENOUGH_STEPS` in the time, by halves, where `batch` takes `step_s`."""
    while batch > 1 and steps_in_time(batch, step_s, minutes, num_evaluated) < ENOUGH_STEPS:
        batch, step_s = batch // 2, step_s / 2
    return batch


def step_choices(found: Survey, batch: int, probe: Probe, minutes: float, num_evaluated: int) -> list[Choice]:
    """Steps, and what counts them.

    Args:
        found: the set.
        batch: images a step.
        probe: seconds a step.
        minutes: that training may take, its evaluations included.
        num_evaluated: images of the validation split.
    """
    evaluated, image_s = _each_evaluation(batch, probe.step_s, minutes, num_evaluated)
    shown = len(found.sizes) - found.num_empty
    steps = math.floor(steps_in_time(batch, probe.step_s, minutes, num_evaluated))
    most = math.ceil(MOST_PASSES * shown / batch)
    reason = f"as --minutes {minutes:g} holds"
    if steps > most:
        steps, reason = most, f"{MOST_PASSES} passes over the set, by which it is known by heart"
    if steps < LEAST_STEPS:
        steps, reason = LEAST_STEPS, f"more than --minutes {minutes:g} holds, as new layers need {LEAST_STEPS}"
    spent = (steps * probe.step_s + _EVALUATIONS * evaluated * image_s) / 60
    passes = steps * batch / shown
    every = math.ceil(steps / _EVALUATIONS)
    return [
        Choice(
            "training.steps",
            steps,
            f"{counted(steps, 'step')} of {probe.describe()}, measured on this machine, and evaluations: about "
            f"{times(spent)} minutes, {reason}. Each picture with an object is seen {times(passes)} times.",
        ),
        Choice("training.warmup_steps", max(5, min(300, steps // 15)), ""),
        Choice("training.log_every", max(1, min(20, steps // 20)), ""),
        Choice("training.checkpoint_every", every, ""),
        Choice("training.evaluate_every", every, f"{_EVALUATIONS} times, each with a checkpoint."),
        Choice("training.evaluate_images", evaluated if evaluated < num_evaluated else None, ""),
    ]
