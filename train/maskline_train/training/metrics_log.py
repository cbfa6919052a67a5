"""What a run says: metrics.jsonl, TensorBoard, train.log, and a progress line on a terminal (plain lines elsewhere)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from maskline_command.streams import ReaderGone
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column
from torch.utils.tensorboard import SummaryWriter

from maskline_train.files import naming, replace_file

METRICS, LOG, TENSORBOARD = "metrics.jsonl", "train.log", "tensorboard"
TELL_EVERY_S = 60.0


class MetricsLog:
    """Writes one run's metrics; in all processes but the main one it writes nothing.

    A resumed run drops the entries after its checkpoint, so the file tells one history.
    """

    def __init__(self, out: Path, *, first_step: int, steps: int, active: bool) -> None:
        self._active, self._out = active, out
        self._steps = steps
        if not active:
            return
        _drop_after(out / METRICS, first_step)
        self._metrics = (out / METRICS).open("a", encoding="utf-8")
        self._log = (out / LOG).open("a", encoding="utf-8")
        self._board = SummaryWriter(str(out / TENSORBOARD), purge_step=first_step + 1)
        self._console = Console(markup=False, emoji=False, soft_wrap=True, highlight=False)
        self._since, self._images = time.perf_counter(), 0
        self._told = self._since
        self._first_step, self._started, self._paused = first_step, time.perf_counter(), 0.0
        text = TextColumn(
            "{task.fields[text]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        )
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(12), text)
        on_terminal = self._console.is_terminal
        self._progress = Progress(*columns, console=self._console, disable=not on_terminal, expand=True)
        self._task = self._progress.add_task("train", total=steps, completed=first_step, text="")
        self._progress.start()

    def __enter__(self) -> MetricsLog:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files and the progress line."""
        if self._active:
            self._progress.stop()
            for name, file in ((METRICS, self._metrics), (LOG, self._log), (TENSORBOARD, self._board)):
                with naming(self._out / name):
                    file.close()

    def say(self, text: str) -> None:
        """One line on the console and in train.log."""
        if self._active:
            self._show(text)
            self._write_log(text)

    def count(self, step: int, images: int) -> None:
        """Note that a step with `images` pictures is done."""
        if self._active:
            self._images += images
            self._progress.update(self._task, completed=step)

    def pause(self, seconds: float) -> None:
        """Leave `seconds` of evaluation or saving out of the training speed."""
        if self._active:
            self._since += seconds
            self._paused += seconds

    def train(self, step: int, values: Mapping[str, float]) -> None:
        """Record the losses and rates of step `step` (counted from 1) and show them."""
        if not self._active:
            return
        now = time.perf_counter()
        speed = self._images / max(now - self._since, 1e-9)
        self._since, self._images = now, 0
        self._record({"kind": "train", "step": step, **values, "images_per_s": round(speed, 3)})
        left = (now - self._started - self._paused) / max(step - self._first_step, 1) * (self._steps - step)
        losses = " ".join(f"{name} {value:.3f}" for name, value in values.items() if name != "lr")
        text = f"{_duration(left)} left, {speed:.1f} images/s, {losses}, lr {values['lr']:.2e}"
        self._progress.update(self._task, text=text)
        line = f"step {step}/{self._steps}, {text}"
        self._write_log(line)
        if not self._console.is_terminal:
            self._show(line)

    def evaluating(self, step: int, done: int, count: int) -> int:
        """Show how far the evaluation after step `step` is; elsewhere than on a terminal a line a minute. Returns 0."""
        if self._active:
            text = f"evaluating: {done} of {count} images"
            self._progress.update(self._task, text=text)
            now = time.perf_counter()
            if not self._console.is_terminal and now - self._told > TELL_EVERY_S:
                self._show(f"step {step}: {text}")
                self._told = now
        return 0

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Record the metrics of an evaluation after step `step`."""
        if self._active:
            self._record({"kind": "evaluation", "step": step, **values})

    def _show(self, text: str) -> None:
        """One line on the console, as long as somebody reads it: `tee` ends by the Ctrl-C that is to end a run well."""
        try:
            self._console.print(text)
        except ReaderGone:
            self._console.quiet = True

    def _record(self, entry: dict[str, float | str]) -> None:
        with naming(self._out / METRICS):
            self._metrics.write(json.dumps(entry) + "\n")
            self._metrics.flush()
        for name, value in entry.items():
            if name not in ("kind", "step"):
                self._board.add_scalar(f"{entry['kind']}/{name}", value, entry["step"])

    def _write_log(self, text: str) -> None:
        with naming(self._out / LOG):
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()


def read_metrics(path: Path) -> list[dict[str, float | str]]:
    """The entries of a metrics.jsonl; a last line cut off by a kill is left out."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def _drop_after(path: Path, step: int) -> None:
    """Keep the entries up to and including step `step`."""
    if path.exists():
        kept = [json.dumps(entry) + "\n" for entry in read_metrics(path) if int(entry["step"]) <= step]
        replace_file(path, "".join(kept).encode())


def _duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
