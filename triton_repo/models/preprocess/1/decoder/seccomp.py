"""A filter of system calls for a process that only computes: it keeps what it has, and gets nothing more.

No file, no socket, no process and no thread can be opened or started, no memory made executable, no signal sent:
whatever is not listed fails with EPERM. Plain BPF, for Linux on x86-64, and on aarch64, where it has not run yet.
Standard library only.

Ref: https://www.kernel.org/doc/html/latest/userspace-api/seccomp_filter.html; the numbers are the kernel's,
arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from typing import NamedTuple

# <linux/seccomp.h>. Before Linux 5.16 a filter would else also slow down the processor's guesses about its stores, for
# secrets that this process does not have.
_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
# <linux/bpf_common.h>: load a word of `struct seccomp_data`; jump if equal, if a bit is set; return.
_LOAD, _EQUAL, _HAS_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
# `struct seccomp_data`: the call's number, the architecture, the lower half of the third argument.
_NUMBER, _ARCHITECTURE, _THIRD = 0, 4, 32
_PROT_EXEC = 4


class _Machine(NamedTuple):
    """An architecture as the kernel's audit names it, and its numbers of seccomp and of the calls that are allowed."""

    audit: int
    seccomp: int
    mmap: int  # allowed unless it asks for memory that can be executed
    others: tuple[int, ...]


# In the order of `others`: read, close, fstat, munmap, brk, mremap, madvise, sendto, recvfrom, futex, clock_gettime,
# gettimeofday, getrandom, sched_yield, getpid, rt_sigprocmask, rt_sigreturn, restart_syscall, exit, exit_group.
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, 317, 9, (0, 3, 5, 11, 12, 25, 28, 44, 45, 202, 228, 96, 318, 24, 39, 14, 15, 219, 60, 231)
    ),
    "aarch64": _Machine(
        0xC00000B7,
        277,
        222,
        (63, 57, 80, 215, 214, 216, 233, 206, 207, 98, 113, 169, 278, 124, 172, 135, 139, 128, 93, 94),
    ),
}


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install() -> None:
    """Put the filter on this process, which has one thread and `no_new_privs`, for good.

    Raises:
        OSError: there is none for this machine, or the kernel refuses it.
    """
    name = platform.machine()
    if name not in _MACHINES:
        raise OSError(errno.ENOSYS, f"no filter of system calls is written for {name}")
    code = program(_MACHINES[name])
    libc = ctypes.CDLL(None, use_errno=True)
    given = _Program(len(code) // 8, code)
    call = (_MACHINES[name].seccomp, _SET_MODE_FILTER, _SPEC_ALLOW)
    if libc.syscall(*(ctypes.c_long(number) for number in call), ctypes.byref(given)) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses a filter of system calls")


def program(machine: _Machine) -> bytes:
    """The filter, 8 bytes an instruction."""
    count = len(machine.others)
    # Jumps count the instructions that are left out. Behind the comparisons: refuse, mmap's two, allow, kill.
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, count + 6, machine.audit),
        (_LOAD, 0, 0, _NUMBER),
        (_EQUAL, count + 1, 0, machine.mmap),
        *((_EQUAL, count - at + 2, 0, number) for at, number in enumerate(machine.others)),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _THIRD),
        (_HAS_BIT, 2, 0, _PROT_EXEC),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in steps)
