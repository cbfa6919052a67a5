"""What steps say of themselves: it stays on the device until it is worth waiting for."""

from __future__ import annotations

import dataclasses
import math
import signal

import torch
from torch import Tensor

from maskline_train.distributed import Processes, mean_over_processes
from maskline_train.recipe import TrainingSpec
from maskline_train.training.interruption import NonFiniteLossError

# Steps between two transfers from a GPU, which has computed the last one by then and stands still for its numbers. As
# many steps of a run that has diverged are computed in vain, and as late a signal is heard by several processes.
STEPS_UNREAD = 10


@dataclasses.dataclass(frozen=True)
class Report:
    """One step's numbers.

    Attributes:
        step: its number, from 1.
        names: of the numbers.
        numbers: float32 [n], of this process, on its device.
        rate: the learning rate.
    """

    step: int
    names: tuple[str, ...]
    numbers: Tensor
    rate: float


class Reports:
    """The reports of a process that have not been read; every process has to read at the same steps."""

    def __init__(self, training: TrainingSpec, processes: Processes) -> None:
        self._training, self._processes = training, processes
        self._unread: list[Report] = []
        self._none_read = True

    def add(self, report: Report) -> None:
        """One more, of the step behind the last one."""
        self._unread.append(report)

    def due(self, received: int) -> bool:
        """Whether it is time to read: each step on a CPU; on a GPU after some, or where a signal came to the only one.

        The first step is read in any case, so that whoever began the run sees it go.

        Args:
            received: the signal's number, 0 before one came; other processes cannot know of it.
        """
        at_once = self._processes.device.type == "cpu" or (received and self._processes.world == 1)
        return bool(at_once) or len(self._unread) >= (1 if self._none_read else STEPS_UNREAD)

    def read(self, received: int) -> tuple[dict[str, float], int]:
        """Read what is unread, in one transfer and one reduction.

        Args:
            received: the number of a signal that came to this process, 0 for none.

        Returns:
            Means over the processes of the last step, with its rate as "lr"; and the number of a signal that came to
            any of them, 0 for none.

        Raises:
            NonFiniteLossError: a number of one of the steps is NaN or infinite.
        """
        numbers = torch.stack([report.numbers for report in self._unread])
        flag = numbers.new_full((1,), float(received > 0))
        *means, stopped = mean_over_processes(torch.cat([numbers.flatten(), flag])).tolist()
        reports, self._unread, self._none_read = self._unread, [], False
        values: dict[str, float] = {}
        for report in reports:
            values = dict(zip(report.names, means, strict=False))
            means = means[len(report.names) :]
            _check_finite(values, report, self._training, self._processes)
        stop = (received or int(signal.SIGTERM)) if stopped else 0
        return {**values, "lr": reports[-1].rate}, stop


def _check_finite(values: dict[str, float], report: Report, training: TrainingSpec, processes: Processes) -> None:
    """Raise where a number of a step is NaN or infinite.

    The scaler of fp16 meets infinite gradients by skipping the step; the losses have to be finite there too.
    """
    for name, value in values.items():
        scaled_gradient = name == "grad_norm" and training.amp == "fp16" and processes.device.type == "cuda"
        if name != "loss" and not scaled_gradient and not math.isfinite(value):
            amp = "" if training.amp == "off" else f", set amp 'off' (it is {training.amp!r})"
            raise NonFiniteLossError(
                f"step {report.step}: {name} is {value}, expected a finite number; weights of this step were not "
                f"saved. Lower base_lr (the rate was {report.rate:.3g}), lengthen warmup_steps "
                f"({training.warmup_steps}), set clip_norm (it is {training.clip_norm}){amp}, or look for bad boxes "
                f"with `maskline-train data check`"
            )
