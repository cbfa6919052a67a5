"""What every target holds the code under test to, whatever it is fed.

It may answer or refuse: by the very class of error that it documents, in one line. A subclass that slips through (a
UnicodeDecodeError for a ValueError) was not thought of, and is a finding like any other error. Meanwhile it writes no
file, starts no process, opens no connection and asks for no memory beyond `MEMORY_BYTES`.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

MEMORY_BYTES = 1 << 30  # beyond what the process has when it begins; the largest input is a picture of 4 megapixels
LONGEST_LINE = 2000  # characters of a refusal: a terminal full, whatever the input is
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "subprocess.Popen",
    "socket.connect",
    "socket.bind",
    "shutil.",
    "pickle.find_class",
)

_watching = False
_seen: list[str] = []


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    """Note what is forbidden. An error raised here could be caught by the code under test."""
    if not _watching:
        return
    if event == "open":
        flags = arguments[2]
        if isinstance(flags, int) and flags & _WRITES:
            _seen.append(f"opened {arguments[0]!r} to write")
    elif event.startswith(_FORBIDDEN):
        _seen.append(f"{event} {arguments!r}")


def watch() -> None:
    """From now on what happens within `judged` is noted; a hook of Python's cannot be taken away again."""
    sys.addaudithook(_hook)


def bound_memory() -> None:
    """Let this process have `MEMORY_BYTES` more than it has: what asks for more gets a MemoryError, a finding."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@contextlib.contextmanager
def judged(*documented: type[Exception]) -> Iterator[None]:
    """Within: call the code under test.

    Args:
        documented: classes of errors by which it may refuse.

    Raises:
        AssertionError: it did something forbidden, or its refusal is no line of text.
    """
    global _watching
    _watching = True
    try:
        yield
    except Exception as error:
        if type(error) not in documented:
            raise
        check_text(str(error))
    finally:
        _watching = False
        seen, _seen[:] = list(_seen), []
        assert not seen, f"what is forbidden: {seen[:3]}"


def check_text(text: str) -> None:
    """Raise AssertionError unless a refusal is one line that says something."""
    assert text.strip(), "a refusal without a word"
    assert len(text.splitlines()) == 1, f"a refusal of several lines: {text[:300]!r}"
    assert len(text) <= LONGEST_LINE, f"a refusal of {len(text)} characters: {text[:300]!r}"
