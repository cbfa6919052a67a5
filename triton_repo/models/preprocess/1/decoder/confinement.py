"""Takes from a process what a decoder does not need, for good: each part by itself, and as far as the platform lets it.

Linux; standard library only. What the process needs is open, imported and mapped before.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

from . import seccomp

_PR_SET_NO_NEW_PRIVS = 38  # <linux/prctl.h>
# <linux/sched.h>: a user of no rights, networks without an interface, no System V memory of others.
_NEW_USER, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000


def confine(max_bytes: int) -> tuple[list[str], list[str]]:
    """Confine this process, which has one thread.

    Args:
        max_bytes: memory of its own, beyond what it holds now.

    Returns:
        What is in force, and what the platform refused with its reason; each in words for the log.
    """
    in_force, refused = [], []
    for name, confining in _parts(max_bytes).items():
        try:
            confining()
            in_force.append(name)
        except (OSError, ValueError) as error:  # ValueError: a limit above the hard one
            refused.append(f"{name} ({error})")
    return in_force, refused


def _parts(max_bytes: int) -> dict[str, Callable[[], None]]:
    """In this order: the filter of system calls forbids what the others do."""
    return {
        "no new privileges": _no_new_privileges,
        "user, network and IPC namespaces of its own": _namespaces,
        f"{max_bytes >> 20} MiB of memory": lambda: _limit(resource.RLIMIT_DATA, _data_bytes() + max_bytes),
        "no bytes to files": lambda: _limit(resource.RLIMIT_FSIZE, 0),
        "no core file": lambda: _limit(resource.RLIMIT_CORE, 0),
        "no processes": lambda: _limit(resource.RLIMIT_NPROC, 0),
        "no further open files or sockets": lambda: _limit(resource.RLIMIT_NOFILE, 0),
        "a filter of system calls": seccomp.install,
    }


def _no_new_privileges() -> None:
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _namespaces() -> None:
    _call("unshare", _NEW_USER | _NEW_NETWORK | _NEW_IPC)


def _call(name: str, *arguments: int) -> None:
    """A function of the C library that answers 0 where it did what was asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _limit(which: int, value: int) -> None:
    resource.setrlimit(which, (value, value))


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process now: private memory that can be written, touched or not."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmData:")).split()[1]) * 1024
