"""One process that decodes, seen by the one that asks it.

Letters: h w the size that a picture is brought to.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import images
from ..resizing import Size, UInt8
from .messages import DECODED, LENGTH, OUT_OF_MEMORY, REFUSED, REPLY_BYTES, SETUP_BYTES, Layout, Reply

_START_S = 60.0  # imports of half a second, on a machine that is busy with everything else
_END_S = 2.0
_SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",  # numpy's: a process of several threads cannot be confined
    # glibc's: up to 64 MiB stay for the next file. To get 48 MB for 12 megapixels anew costs a third of their decoding.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
# From <linux/fcntl.h>, as Python's fcntl module has them by name only since 3.12. The size is as it is: neither side
# can take memory away under the other.
_ADD_SEALS, _SEALED = 1033, 1 | 2 | 4


class DecoderError(Exception):
    """The server's trouble, not the file's; the text says what happened and what to do."""


class DecoderProcess:
    """A process, started, that has loaded what it needs and is confined; for one thread at a time.

    Args:
        parameters: of config.pbtxt.

    Attributes:
        said: by it: `in_force` and `refused` of `decoding.ready`.
        pid: its number.

    Raises:
        DecoderError: it does not start.
    """

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self._parameters, self._layout = parameters, Layout.of(parameters)
        self._geometry, self._limits = images.geometry_of(parameters), images.limits_of(parameters)
        self._seconds = images.whole_number(parameters, "max_decode_seconds")
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        hung_up, self._lifeline = os.pipe()
        region = _region(self._layout.size)
        self._region = np.frombuffer(mmap.mmap(region, self._layout.size), np.uint8)
        handed = (theirs.fileno(), region, hung_up)
        try:
            self._process = _start(handed)
        except BaseException:
            self._let_go()
            raise
        finally:
            theirs.close()
            os.close(region)
            os.close(hung_up)
        self.pid = self._process.pid
        self.said = self._introduced()

    def decode(self, file: bytes) -> tuple[UInt8, Size]:
        """The resized picture of one file, [h,w,3] uint8 RGB, and the size it has in the file.

        Raises:
            InvalidImageError: the file is refused, or this process ended over it.
            DecoderError: anything that is not the file's fault.
        """
        images.refuse_by_length(file, self._limits)
        self._region[: len(file)] = np.frombuffer(file, np.uint8)
        with self._ended_by(file):
            self._channel.send(LENGTH.pack(len(file)))
            reply = Reply.unpacked(self._channel.recv(REPLY_BYTES))
        if reply.kind == REFUSED:
            raise images.InvalidImageError(reply.text)
        if reply.kind == OUT_OF_MEMORY:
            raise images.InvalidImageError(
                f"image: got {len(file)} bytes that take more than {self._parameters['max_decode_bytes']} bytes of "
                "memory to decode, expected at most that; scale it down, or raise max_decode_bytes of preprocess"
            )
        if reply.kind != DECODED:
            raise DecoderError(f"image: decoding failed: {reply.text}")
        return self._picture(reply), reply.original

    def waits(self) -> bool:
        """Whether it is there, for the next file."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it, if it has not ended, and let go of what was shared."""
        self._let_go()  # it sees the end of the socket, or of the lifeline
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _introduced(self) -> dict[str, Any]:
        """What it says of itself, once it is ready."""
        model = Path(__file__).resolve().parents[1]
        path = [folder for folder in sys.path if Path(folder).is_absolute()]
        setup = json.dumps({"path": path, "folder": str(model), "parameters": dict(self._parameters)}).encode()
        try:
            if len(setup) > SETUP_BYTES:
                raise DecoderError(f"sys.path: got {len(setup)} bytes, expected at most {SETUP_BYTES}; shorten it")
            self._channel.settimeout(_START_S)
            self._channel.send(setup)
            said: dict[str, Any] = json.loads(self._channel.recv(SETUP_BYTES) or "{}")
            if "in_force" not in said:
                raise DecoderError(said.get("failed", "it ended before it was ready; the log has its last words"))
        except (OSError, ValueError) as error:
            self.end()
            raise DecoderError(f"{error or type(error).__name__}") from error
        except DecoderError:
            self.end()
            raise
        self._channel.settimeout(self._seconds)
        return said

    @contextlib.contextmanager
    def _ended_by(self, file: bytes) -> Iterator[None]:
        """Within: asks, and turns the end of the process over a file into its refusal."""
        try:
            yield
        except TimeoutError:
            self._process.kill()
            self.end()
            raise images.InvalidImageError(
                f"image: got {len(file)} bytes that take more than {self._seconds} s to decode, expected at most that; "
                "save it anew as a plain JPEG or PNG, or raise max_decode_seconds of preprocess"
            ) from None
        except (OSError, struct.error):  # the socket is closed: nothing is read
            self.end()
            raise _end_of(self._process.returncode, len(file)) from None

    def _picture(self, reply: Reply) -> UInt8:
        """A copy of what is in the region; where the reply cannot be true the process is not to be trusted any more."""
        (h, w), (height, width) = reply.size, reply.original
        if not (0 < height * width <= self._limits.max_image_pixels) or (h, w) != self._geometry.resized_size(
            reply.original
        ):
            self._process.kill()
            self.end()
            raise DecoderError(f"image: decoding gave {h} x {w} pixels of {height} x {width}; report the file")
        start = self._layout.picture_at
        picture: npt.NDArray[np.uint8] = self._region[start : start + 3 * h * w].reshape(h, w, 3)
        return picture.copy()

    def _let_go(self) -> None:
        self._channel.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _region(size: int) -> int:
    """Memory without a name, of a size that nobody can change; gone with the last that has it."""
    region = os.memfd_create("maskline-decoder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(region, size)
    fcntl.fcntl(region, _ADD_SEALS, _SEALED)
    return region


def _start(handed: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """The script beside this file, with three open files and next to nothing of our environment."""
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    environment |= _SETTINGS
    command = [_python(), "-I", "-S", str(Path(__file__).with_name("worker.py")), *map(str, handed)]
    try:
        # A session of its own: the signals of a terminal are for its parent.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, pass_fds=handed, env=environment, start_new_session=True
        )
    except OSError as error:
        raise DecoderError(f"{command[0]}: {error.strerror}") from error


def _python() -> str:
    """The interpreter of this process, which may be part of another program."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, shutil.which(name, path=f"{sys.base_exec_prefix}/bin"), shutil.which(name)):
        if found and Path(found).name.startswith("python"):
            return found
    raise DecoderError(f"got no {name} on PATH or below {sys.base_exec_prefix}, expected this process's own")


def _end_of(status: int, length: int) -> Exception:
    """What the end of the process over a file means."""
    if status == -signal.SIGKILL:  # no decoder does that to itself
        return DecoderError(
            "image: the process that decodes was killed (SIGKILL), by somebody or by the system for want of memory; "
            "send it again, and see the system's log"
        )
    with contextlib.suppress(ValueError):
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return images.InvalidImageError(
            f"image: got {length} bytes that end the process which decodes them ({how}), expected a picture; "
            "it alone is refused; open it elsewhere and save it anew"
        )
    return DecoderError(f"image: the process that decodes ended with status {status}; send it again")
