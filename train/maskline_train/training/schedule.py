"""The learning rate of a step: linear scaling to the batch, linear warm-up, then step decay or a cosine."""

from __future__ import annotations

import bisect
import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class StepDecay:
    """The rate is multiplied by `factor` at every milestone. Ref: paper 3.1, "decreased by 10 at the 120k"."""

    milestones: tuple[int, ...]
    factor: float = 0.1

    def at(self, step: int, steps: int) -> float:
        """What the scaled rate is multiplied by in step `step` (0-based); a milestone counts from its own step."""
        del steps  # the milestones say it all
        return self.factor ** bisect.bisect_right(self.milestones, step)

    def stretched(self, ratio: float) -> StepDecay:
        """The same decay with milestones at `ratio` times their steps."""
        return dataclasses.replace(self, milestones=tuple(round(milestone * ratio) for milestone in self.milestones))


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 in the first step to `final_factor` in the last."""

    final_factor: float = 0.01

    def at(self, step: int, steps: int) -> float:
        """What the scaled rate is multiplied by in step `step` (0-based) of `steps`."""
        position = min(step / max(steps - 1, 1), 1.0)
        return self.final_factor + (1.0 - self.final_factor) * 0.5 * (1.0 + math.cos(math.pi * position))

    def stretched(self, ratio: float) -> Cosine:
        """Itself: a cosine has no step numbers of its own."""
        del ratio
        return self


def warmup(step: int, warmup_steps: int, warmup_factor: float) -> float:
    """Multiplier that rises linearly from `warmup_factor` in step 0 to 1 in step `warmup_steps`; 1 from there on.

    Without warm-up the first steps of a large-batch run diverge: the linear scaling rule does not hold while the
    weights change fast (Goyal et al. 2017, section 2.2).
    """
    if step >= warmup_steps:
        return 1.0
    return warmup_factor + (1.0 - warmup_factor) * step / warmup_steps
