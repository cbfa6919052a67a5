"""How far a run is: a bar on a terminal from the first step on, lines in a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping

from maskline_command.streams import ReaderGone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column

TELL_EVERY_S = 60.0


class RunProgress:
    """Shows a run on the console, and knows its speed."""

    def __init__(self, first_step: int, steps: int) -> None:
        """Begin to show.

        Args:
            first_step: steps done before.
            steps: of the whole run.
        """
        self._first_step, self._steps = first_step, steps
        self._console = Console(markup=False, emoji=False, soft_wrap=True, highlight=False)
        self._started = self._since = self._told = time.perf_counter()
        self._images, self._done, self._first_took = 0, first_step, 0.0
        text = TextColumn(
            "{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        )
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(12), text)
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal, expand=True)
        waiting = "the first step is under way"
        self._task = self._bar.add_task("train", total=steps, completed=first_step, text=waiting)
        self._bar.start()

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    def count(self, step: int, images: int) -> None:
        """Note that a step with `images` pictures is done."""
        self._images += images
        self._done = step
        self._bar.update(self._task, completed=step)
        if step == self._first_step + 1:  # workers were started, kernels chosen and compiled: no other step takes that
            self._first_took, self._started = time.perf_counter() - self._started, time.perf_counter()

    def pause(self, seconds: float) -> None:
        """Leave `seconds` of evaluation or saving out of the speed."""
        self._since += seconds
        self._started += seconds

    def speed(self) -> float:
        """Images a second since the speed was last taken by `restart`."""
        return self._images / max(time.perf_counter() - self._since, 1e-9)

    def restart(self) -> None:
        """Count images and time anew for `speed`."""
        self._since, self._images = time.perf_counter(), 0

    def text(self, values: Mapping[str, float]) -> str:
        """Time left, speed, losses and rate of the last step, in one line."""
        losses = " ".join(f"{name} {value:.3f}" for name, value in values.items() if name != "lr")
        return f"{_duration(self._left_s())} left, {self.speed():.1f} images/s, {losses}, lr {values['lr']:.2e}"

    def step(self, text: str, *, line: bool) -> None:
        """Show the text of the last step: on the bar, else as a line, of the first step and where one is wanted."""
        self._bar.update(self._task, text=text)
        if not self._console.is_terminal and (line or self._done == self._first_step + 1):
            self.say(f"step {self._done}/{self._steps}, {text}")

    def evaluating(self, step: int, done: int, count: int) -> None:
        """Show how far the evaluation after step `step` is; elsewhere than on a terminal a line a minute."""
        text = f"evaluating: {done} of {count} images" if done < count else f"scoring {count} images"
        self._bar.update(self._task, text=text)
        now = time.perf_counter()
        if not self._console.is_terminal and now - self._told > TELL_EVERY_S:
            self.say(f"step {step}: {text}")
            self._told = now

    def say(self, text: str) -> None:
        """One line on the console, as long as somebody reads it: `tee` ends by the Ctrl-C that is to end a run well."""
        try:
            self._console.print(text)
        except ReaderGone:
            self._console.quiet = True

    def _left_s(self) -> float:
        """Seconds that the remaining steps will take, as the steps of this call did."""
        rest, measured = self._steps - self._done, self._done - self._first_step - 1
        if measured < 1:
            return rest * self._first_took
        return rest * (time.perf_counter() - self._started) / measured


def _duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
