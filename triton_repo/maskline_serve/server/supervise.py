"""Runs tritonserver as a child and makes sure that nothing of it outlives the process that asked for it.

Started by `process.ServerProcess` as a script of its own (standard library only) in a session of its own:

    python supervise.py WORK_FOLDER SHM_PREFIX PARENT_PID DRAIN_SECONDS [LIVE_FOLDER] -- COMMAND...

It ends the server when standard input closes, when the parent is gone (killed included) or on SIGTERM or SIGINT:
first SIGTERM, which lets the server finish the requests in flight, then SIGKILL after `DRAIN_SECONDS`, or as soon as
the parent is gone that was there when the drain began. As a subreaper it inherits the server's Python stubs if the
server dies, so it can end these too; at last it removes the shared-memory regions and the work folder, and the live
folder too if the parent is gone, which would start the server again with it otherwise. It exits with the server's exit
status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.2
DRAIN_POLL_SECONDS = 0.05
STUB_GRACE_SECONDS = 2.0  # a stub whose server is gone leaves by itself within about a second


def main(argv: list[str]) -> int:
    """Run the command until it ends or must end; returns its exit status (128 + N when signal N ended it)."""
    folder, prefix, parent, drain = Path(argv[0]), argv[1], int(argv[2]), float(argv[3])
    live, command = argv[4 : argv.index("--")], argv[argv.index("--") + 1 :]
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda signum, _frame: asked.append(signum))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def die_with_supervisor() -> None:
        """In the child before exec: the kernel ends the server if even this process is killed."""
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    try:
        # This process has one thread, so a preexec function is safe, and PDEATHSIG means this process.
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_supervisor)
        while server.poll() is None and not asked and not _parent_gone(parent):
            pass
        return _end(server, drain, parent)
    except OSError as error:
        sys.stderr.write(f"maskline: cannot start {command[0]}: {error.strerror}\n")
        return 127
    finally:
        _end_orphans()
        remove(folder, prefix)
        for models in live if os.getppid() != parent else ():
            shutil.rmtree(models, ignore_errors=True)


def kill_stubs(folder: Path) -> None:
    """Kill the stubs of a server whose supervisor is gone: one that was in a request when its server died stays."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(os.fsencode(folder / "backends")):
                os.kill(int(process.name), signal.SIGKILL)


def remove(folder: Path, prefix: str) -> None:
    """Remove a server's shared memory, which it does itself unless it was killed, and its work folder."""
    for region in Path("/dev/shm").glob(prefix + "*"):
        with contextlib.suppress(OSError):
            region.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _parent_gone(parent: int) -> bool:
    """Wait a moment; True when standard input closed or the parent process is another one now."""
    with contextlib.suppress(InterruptedError):
        if select.select([sys.stdin], [], [], POLL_SECONDS)[0] and not os.read(sys.stdin.fileno(), 1):
            return True
    return os.getppid() != parent


def _end(server: subprocess.Popen[bytes], drain: float, parent: int) -> int:
    """Let the server drain, then kill it; returns its exit status.

    A parent that asked for the end and did not wait for it (a second Ctrl-C) ends the drain too.
    """
    if server.poll() is None:
        server.send_signal(signal.SIGTERM)
        waits, deadline = os.getppid() == parent, time.monotonic() + drain
        while server.poll() is None and time.monotonic() < deadline and (os.getppid() == parent or not waits):
            time.sleep(DRAIN_POLL_SECONDS)
        if server.poll() is None:
            server.kill()
    status = server.wait()
    return 128 - status if status < 0 else status


def _end_orphans() -> None:
    """Wait for the stubs that the server left to this subreaper, then kill those that stay."""
    deadline = time.monotonic() + STUB_GRACE_SECONDS
    while left := children(os.getpid()):
        for child in left:
            with contextlib.suppress(OSError):
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.02)


def children(parent: int) -> list[int]:
    """Process ids of a process's children, zombies included."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(status[1]) == parent:
                found.append(int(folder.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
