"""Runs a command of ours in a process with fewer rights, less room, and Ctrl-C at a moment of its work.

    python confined.py MOMENT LIMIT_BYTES INPUTS OUT MODULE WORDS...

Permissions count for root too. No file may exceed LIMIT_BYTES, as on a full disk; 0 sets no limit. Ctrl-C, a real
signal, comes where Python's own audit says that the process has come to MOMENT: "start", it begins to import typer;
"work", it reads the first file below INPUTS; "writing", it makes the first file or folder below OUT; "" never.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sys
from typing import Any

CAPABILITY_VERSION = 0x20080522  # <linux/capability.h>
OVERRULING = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def obey_permissions() -> None:
    """Give up root's leave to read and write what it may not; others have none."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; of the capabilities 0 to 31, then of the rest
    libc.capget(header, sets)
    for number in range(3):
        sets[number] &= ~OVERRULING
    libc.capset(header, sets)


def interrupt_at(moment: str, inputs: str, out: str) -> None:
    """Send SIGINT to this process once it has come to the moment."""
    sent: list[str] = []

    def has_come(event: str, args: tuple[Any, ...]) -> bool:
        if moment == "start":
            return event == "import" and args[0] == "typer"
        if event == "os.mkdir":
            return moment == "writing" and str(args[0]).startswith(out)
        if event != "open" or not isinstance(args[0], str | os.PathLike):
            return False
        writes = bool(args[2] & (os.O_WRONLY | os.O_RDWR))
        place = out if moment == "writing" else inputs
        return writes == (moment == "writing") and os.fspath(args[0]).startswith(place)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if not sent and has_come(event, args):
            sent.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    sys.addaudithook(hook)


def main() -> None:
    moment, limit, inputs, out, module, *words = sys.argv[1:]
    sys.argv = [module, *words]
    sys.path.pop(0)  # this folder
    obey_permissions()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    if moment:
        interrupt_at(moment, inputs, out)
    importlib.import_module(module).main()


if __name__ == "__main__":
    main()
