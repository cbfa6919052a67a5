"""What a run says: metrics.jsonl, TensorBoard, train.log, and what `progress` shows."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from maskline_train.files import naming, replace_file
from maskline_train.training.progress import RunProgress

METRICS, LOG, TENSORBOARD = "metrics.jsonl", "train.log", "tensorboard"


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
        self._shown = RunProgress(first_step, steps)

    def __enter__(self) -> MetricsLog:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files and the progress line."""
        if self._active:
            self._shown.stop()
            for name, file in ((METRICS, self._metrics), (LOG, self._log), (TENSORBOARD, self._board)):
                with naming(self._out / name):
                    file.close()

    def say(self, text: str) -> None:
        """One line on the console and in train.log."""
        if self._active:
            self._shown.say(text)
            self._write_log(text)

    def count(self, step: int, images: int) -> None:
        """Note that a step with `images` pictures is done."""
        if self._active:
            self._shown.count(step, images)

    def pause(self, seconds: float) -> None:
        """Leave `seconds` of evaluation or saving out of the training speed."""
        if self._active:
            self._shown.pause(seconds)

    def train(self, step: int, values: Mapping[str, float], *, record: bool) -> None:
        """Show the losses and rates of step `step` (counted from 1), the last that was counted.

        Args:
            step: its number.
            values: by name, the rate as "lr".
            record: write them down, too.
        """
        if not self._active:
            return
        text = self._shown.text(values)
        if record:
            self._record({"kind": "train", "step": step, **values, "images_per_s": round(self._shown.speed(), 3)})
            self._shown.restart()
            self._write_log(f"step {step}/{self._steps}, {text}")
        self._shown.step(text, line=record)

    def evaluating(self, step: int, done: int, count: int) -> int:
        """Show how far the evaluation after step `step` is. Returns 0."""
        if self._active:
            self._shown.evaluating(step, done, count)
        return 0

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Record the metrics of an evaluation after step `step`."""
        if self._active:
            self._record({"kind": "evaluation", "step": step, **values})

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
