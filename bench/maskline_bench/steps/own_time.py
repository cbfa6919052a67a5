"""How long the steps of a served model compute: decoder, ONNX Runtime and encoder alone, request by request.

Copies, conversions and the ways between processes are not in it, but for the one to the process that decodes. Our
backend in the server's process tells Triton when ONNX Runtime began and ended: Triton's `compute_infer` of its models
is this very time. Of a model of the Python backend `compute_infer` has the way to its process and back too. There the
code itself is timed: to the copy of a repository that is served for the measurement, lines are appended that write how
long each call took.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maskline_client.bench.statistics import read_counters
from maskline_serve.repository.on_disk import STAGES, Repository

# What runs inside the server's Python: `_timed(call, file)` is the call that also writes its nanoseconds.
_TIMED = """

import functools as _functools
import os as _os
import time as _time


def _timed(call, file):
    written = _os.open(file, _os.O_WRONLY | _os.O_APPEND | _os.O_CREAT)

    @_functools.wraps(call)
    def run(*arguments, **named):
        start = _time.perf_counter_ns()
        try:
            return call(*arguments, **named)
        finally:
            _os.write(written, f"{_time.perf_counter_ns() - start}\\n".encode())

    return run

"""
_DECODER = """
TritonPythonModel._prepare = _timed(TritonPythonModel._prepare, {file!r})
images.compose = _timed(images.compose, {file!r})
"""
_ENCODER = """
TritonPythonModel._at_original_size = _timed(TritonPythonModel._at_original_size, {file!r})
"""
_ENGINE = """
_load = load


class _Session:
    def __init__(self, session, file):
        self.run = _timed(session.run, file)


def load(file, config, *rest):
    return _Session(_load(file, config, *rest), {file!r} + config["name"].rpartition("-")[0])
"""


class OwnTimes:
    """Reads what each step of the ensemble `maskrcnn` computed since it was last asked."""

    def __init__(self, repository: Path, folder: Path) -> None:
        """Change a repository; serve it afterwards.

        Args:
            repository: an assembled repository, a copy that may be thrown away.
            folder: where the steps write their times.
        """
        self._folder, served = folder, Repository.load(repository)
        self._stages = {name: served.model(name).name for name in STAGES if served.model(name).is_dir()}
        self._counted = dict.fromkeys(self._stages, 0)
        _append(served.model("preprocess") / "1" / "model.py", _DECODER, f"{folder}/preprocess")
        _append(served.model("postprocess") / "1" / "model.py", _ENCODER, f"{folder}/postprocess")
        _append(repository / "backends" / "onnxruntime" / "onnx_session.py", _ENGINE, f"{folder}/")

    def take(self, client: Any) -> dict[str, float]:
        """Milliseconds of each step since the last call: ask before a request and after it, with no other in flight.

        Args:
            client: a `tritonclient.grpc.InferenceServerClient` of the server.
        """
        found = {name: self._written(name) for name in ("preprocess", *self._stages, "postprocess")}
        counted = read_counters(client, list(self._stages.values()))
        for name, model in self._stages.items():
            infer = counted[model].phase_ns["compute_infer"]
            if not (self._folder / name).exists():  # no Python runs this stage
                found[name] = infer - self._counted[name]
            self._counted[name] = infer
        return {name: nanoseconds / 1e6 for name, nanoseconds in found.items()}

    def _written(self, step: str) -> int:
        """What a step has written, in nanoseconds; it is gone afterwards."""
        file = self._folder / step
        if not file.exists():
            return 0
        total = sum(map(int, file.read_text(encoding="ascii").split()))
        file.write_text("", encoding="ascii")  # the same file, which the step holds open for appending
        return total


def _append(code: Path, lines: str, file: str) -> None:
    with code.open("a", encoding="utf-8") as opened:
        opened.write(_TIMED + lines.format(file=file))
