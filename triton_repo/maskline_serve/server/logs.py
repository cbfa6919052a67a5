"""Reads tritonserver's log: what to show of it, and what went wrong in it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

_LINE = re.compile(r'^([IWEF])\d{4} [\d:.]+ \d+ ([\w.]+:\d+)\] "?(.*?)"?$')
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_FAILED = re.compile(r"failed to load '([^']+)'(?: version \d+)?: (.*)")
_POLL_FAILED = re.compile(r"Poll failed for model directory '([^']+)': (.*)")
_PORT = re.compile(r"failed to start (\w+) service: .*Socket '[^']*:(\d+)' already in use")
_STARTED = re.compile(r"^Started (?:GRPCInferenceService|HTTPService|Metrics Service) at .*:(\d+)$")
_VERSION = re.compile(r"^\| server_version\s*\| (\S+)")

# Said by every server on a machine without a GPU; nothing to act on.
_NO_GPU = (
    "Unable to allocate pinned system memory",
    "failed to allocate pinned system memory",
    "unable to create stream for",
    "CUDA memory pool disabled",
    "CudaDriverHelper has not been initialized",
    "DCGM unable to start",
    "Failed to initialize NVML",
    "Non-graceful termination detected",  # a stub's farewell after the server was killed
)
# Said by a server that takes leave: it is told to load what does not load (live/leaving.py).
_LEAVING = "'leaving'"


@dataclasses.dataclass
class LogReader:
    """Takes in log lines one at a time and keeps what a person needs to know.

    Attributes:
        loaded: names of models that loaded, in order.
        failed: model name -> its own error line, first one wins.
        port_taken: the port the server could not get, or None.
        listening: the ports that it says it has got.
        version: the server's version, once it said so.
        last_error: the latest error line.
    """

    loaded: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    port_taken: int | None = None
    listening: set[int] = dataclasses.field(default_factory=set)
    version: str | None = None
    last_error: str = ""
    _pending: str | None = None

    def feed(self, line: str) -> str | None:
        """Take in one line (without its newline); returns what to show of it, or None for nothing."""
        if version := _VERSION.match(line):
            self.version = version.group(1)
        match = _LINE.match(line)
        self._note(line if match is None else match.group(3))
        if match is None:
            return None if _is_frame(line) else line
        severity, _, text = match.groups()
        if any(known in text for known in _NO_GPU) or _LEAVING in text:
            return None
        if severity == "I":
            return _information(match.group(2), text)
        if severity in "EF":
            self.last_error = one_line(text)
        return f"{'warning' if severity == 'W' else 'error'}: {one_line(text)}"

    def _note(self, text: str) -> None:
        """Keep the facts of a line."""
        if found := _LOADED.search(text):
            self.loaded.append(found.group(1))
        for pattern in (_FAILED, _POLL_FAILED):
            if (found := pattern.search(text)) and _LEAVING not in text:
                self.failed.setdefault(found.group(1), one_line(found.group(2)))
        if found := _PORT.search(text):
            self.port_taken = int(found.group(2))
        if found := _STARTED.search(text):
            self.listening.add(int(found.group(1)))


def _information(source: str, text: str) -> str | None:
    """What to show of an information line: models that loaded and what a model.py wrote; the rest is noise."""
    if found := _LOADED.search(text):
        return f"loaded {found.group(1)}"
    return text if source.startswith(("model.py:", "onnxruntime_backend.cpp:")) else None


def _is_frame(line: str) -> bool:
    """Whether a line without a log header is a table's frame, empty, or known noise."""
    return not line.strip() or line[0] in "+|" or any(known in line for known in _NO_GPU)


def one_line(text: str) -> str:
    """The text on one line: escaped newlines and spaces collapsed, a Python backend's traceback dropped."""
    return re.sub(r"(\\n|\s)+", " ", text.partition("\\n\\nAt:")[0]).strip().strip('"')


def tail(lines: Iterable[str], count: int = 5) -> str:
    """The last lines that say something, for an error text."""
    return " / ".join([one_line(line) for line in lines if line.strip() and not _is_frame(line)][-count:])
