"""What the tests of the processes that decode share."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.serving import model_files

images = model_files.load("models/preprocess/1/images.py")
resizing = model_files.load("models/preprocess/1/resizing.py")
messages = model_files.load("models/preprocess/1/decoder/messages.py")
filters = model_files.load("models/preprocess/1/filters.py")
process = model_files.load("models/preprocess/1/decoder/process.py")
pool = model_files.load("models/preprocess/1/decoder/pool.py")

PARAMETERS = {
    "shorter_side_px": "64",
    "longer_side_px": "96",
    "canvases": "64x96,96x64,96x96",
    "size_rule": "round",
    "resize_filter": "pillow",
    "max_image_bytes": str(8 << 20),
    "max_image_pixels": "50000000",
    "max_image_side_px": "20000",
    "max_decode_bytes": str(512 << 20),
    "max_decode_seconds": "60",  # most of these tests are not of speed
}
WAIT_S = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} took longer than {WAIT_S} s"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Ended: no process, or one that nobody has asked for its status."""
    return _state(pid) in "ZX"


def _state(pid: int) -> str:
    """The kernel's letter; X where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def signal_over_a_file(found: Any, file: bytes, *signals: int) -> BaseException | Any:
    """What comes of a file over which a process gets signals: it is stopped before, so the file cannot be done yet."""
    os.kill(found.pid, signal.SIGSTOP)
    wait_until(lambda: _state(found.pid) == "T", "stopping the process")
    said: list[Any] = []
    asking = threading.Thread(target=lambda: said.append(_outcome(found, file)))
    asking.start()
    wait_until(lambda: _unread(found) > 0, "sending the file")
    for number in signals:
        os.kill(found.pid, number)
    asking.join(WAIT_S)
    return said[0]


def _outcome(found: Any, file: bytes) -> BaseException | Any:
    try:
        return found.decode(file)
    except Exception as error:
        return error


def _unread(found: Any) -> int:
    """Bytes on the way to a process."""
    return int(struct.unpack("i", fcntl.ioctl(found._channel, termios.TIOCOUTQ, bytes(4)))[0])
