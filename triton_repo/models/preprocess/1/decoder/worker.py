"""The script that a process which decodes runs; `process.DecoderProcess` starts it.

    python -I -S worker.py SOCKET REGION LIFELINE

Three open files by their numbers. SOCKET, of sequenced packets: the set-up comes first, a JSON object, and is answered
by another; from then on a length for each file is answered by a `messages.Reply`. REGION: shared memory,
`messages.Layout`. LIFELINE: a pipe that the parent alone can write, which hangs up when the parent is gone, killed
included; then this process ends, whatever it is doing.

Standard library only, until the set-up says where to find the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import mmap
import os
import signal
import socket
import sys
import types

_PACKAGE = "preprocess_apart"  # the model's code, which has no name of its own
_SETUP_BYTES = 1 << 16  # as in messages.py, which cannot be imported yet


def main(argv: list[str]) -> None:
    """Answer until the parent closes the socket."""
    channel = socket.socket(fileno=int(argv[0]))
    region = mmap.mmap(int(argv[1]), 0)
    os.close(int(argv[1]))
    _end_with(int(argv[2]))
    setup = json.loads(channel.recv(_SETUP_BYTES))
    try:
        sys.path[:] = setup["path"]
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [setup["folder"]]
        sys.modules[_PACKAGE] = package
        decoding = importlib.import_module(f"{_PACKAGE}.decoder.decoding")
        decoder, said = decoding.ready(region, setup["parameters"])
    except Exception as error:  # whatever an import raises: the parent says it
        channel.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        return
    channel.send(json.dumps(said).encode())
    with contextlib.suppress(ConnectionError):  # the parent is gone
        decoder.serve(channel)


def _end_with(lifeline: int) -> None:
    """Let the kernel end this process, by SIGIO, when the other end of a pipe is closed.

    PR_SET_PDEATHSIG would end it with the thread that started it, not with the process.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if not os.read(lifeline, 1):  # hung up before the kernel was asked to tell
            sys.exit()


if __name__ == "__main__":
    main(sys.argv[1:])
