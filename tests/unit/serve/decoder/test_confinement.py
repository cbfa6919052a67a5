"""What a confined process cannot do, tried in one; each line of defence by itself: a platform may lack another."""

from __future__ import annotations

import json
import platform
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from support.serving import model_files

confinement = model_files.load("models/preprocess/1/decoder/confinement.py")
seccomp = model_files.load("models/preprocess/1/decoder/seccomp.py")

# Started as the process that decodes is, with one thread. It tries each thing and prints what came of it, once by
# itself and once with the parts named in argv[2] in force.
SCRIPT = """
import ctypes, json, mmap, os, signal, socket, sys, _thread
sys.path.insert(0, sys.argv[1])
from support.serving import model_files
confinement = model_files.load("models/preprocess/1/decoder/confinement.py")

def fork():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)

def opened(path):
    os.close(os.open(path, os.O_RDONLY))

def connected():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()

def written():
    os.write(scratch, b"word")

def thread():
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(done.release, ())
    done.acquire()

def executed():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.execve(b"/nowhere", None, None)
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

TRIES = {
    "compute": lambda: sum(bytes(1000)),
    "take 1 MiB": lambda: bytearray(1 << 20),
    "take 256 MiB": lambda: bytearray(256 << 20),
    "open a file": lambda: opened("/etc/passwd"),
    "list a folder": lambda: os.listdir("/"),
    "open a socket": connected,
    "ask another process to end": lambda: os.kill(os.getppid(), 0),
    "fork": fork,
    "start a thread": thread,
    "write to a file": written,
    "take memory to execute": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC).close(),
    "raise a limit": lambda: confinement.resource.setrlimit(confinement.resource.RLIMIT_CORE, (0, 0)),
    "execute a program": executed,
}

def outcomes():
    found = {}
    for name, attempt in TRIES.items():
        try:
            attempt()
            found[name] = "done"
        except Exception as error:
            found[name] = getattr(error, "strerror", None) or type(error).__name__
    return found

scratch = os.memfd_create("scratch")
answer = socket.socket(fileno=int(sys.argv[3]))  # which can be written by the one call that is left for it
before = outcomes()
parts = confinement._parts(64 << 20)
names = json.loads(sys.argv[2]) or list(parts)
refused = {}
for name in names:
    try:
        parts[name]()
    except OSError as error:
        refused[name] = str(error)
after = outcomes()
answer.send(json.dumps([before, after, refused]).encode())
os._exit(0)
"""
DENIED = "Operation not permitted"
FILTER = "a filter of system calls"


def tried(*parts: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What came of each attempt before and after, and the parts that this machine refuses."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        number = theirs.fileno()
        command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[3]), json.dumps(parts), str(number)]
        environment = {"OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, check=False, env=environment, pass_fds=[number])
        assert done.returncode == 0, done.stderr.decode()
        before, after, refused = json.loads(ours.recv(1 << 16))
    return before, after, refused


def test_without_it_everything_can_be_done() -> None:
    """Or what follows would prove nothing."""
    before, _, _ = tried("no core file")
    assert before.pop("execute a program") == "No such file or directory"
    assert set(before.values()) == {"done"}, before


def test_the_filter_alone_leaves_computing_and_memory() -> None:
    if platform.machine() != "x86_64":
        pytest.skip(f"the filter has run on x86-64 alone, this is {platform.machine()}")
    _, after, refused = tried("no new privileges", FILTER)
    if FILTER in refused:
        pytest.skip(f"this kernel takes no filter: {refused[FILTER]}")
    allowed = {name for name, came in after.items() if came == "done"}
    assert allowed == {"compute", "take 1 MiB", "take 256 MiB"}
    # What Python makes of EPERM there: "can't start new thread", "not allowed to raise maximum limit".
    own = {"start a thread": "RuntimeError", "raise a limit": "ValueError"}
    assert {name: after[name] for name in own} == own
    assert {came for name, came in after.items() if name not in allowed | set(own)} == {DENIED}


@pytest.mark.parametrize(
    ("part", "attempt", "came"),
    [
        ("64 MiB of memory", "take 256 MiB", "MemoryError"),
        ("no further open files or sockets", "open a file", "Too many open files"),
        ("no further open files or sockets", "open a socket", "Too many open files"),
        ("no further open files or sockets", "list a folder", "Too many open files"),
        ("no bytes to files", "write to a file", "File too large"),
    ],
)
def test_each_limit_holds_by_itself(part: str, attempt: str, came: str) -> None:
    _, after, refused = tried(part)
    assert part not in refused
    assert after[attempt] == came
    assert after["take 1 MiB"] == "done"


def test_all_together_leave_computing_alone() -> None:
    _, after, refused = tried()
    assert set(refused) <= {"user, network and IPC namespaces of its own", FILTER}  # what a container may refuse
    left = {name for name, came in after.items() if came == "done"}
    assert {"compute", "take 1 MiB"} <= left
    assert not left & {"take 256 MiB", "open a file", "list a folder", "open a socket", "write to a file"}


def test_what_the_platform_refuses_is_told_and_the_rest_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def refuse() -> None:
        raise OSError(1, DENIED)

    parts = {"first": lambda: done.append("first"), "second": refuse, "third": lambda: done.append("third")}
    monkeypatch.setattr(confinement, "_parts", lambda max_bytes: parts)
    assert confinement.confine(1) == (["first", "third"], [f"second ([Errno 1] {DENIED})"])
    assert done == ["first", "third"]


def run(machine: str, number: int, third: int = 0, audit: int | None = None) -> int:
    """What the filter answers to a call: its BPF program, interpreted here."""
    table = seccomp._MACHINES[machine]
    code = seccomp.program(table)
    data = struct.pack("<iIQ6Q", number, table.audit if audit is None else audit, 0, 0, 0, third, 0, 0, 0)
    at, word = 0, 0
    while True:
        step, jump_true, jump_false, value = struct.unpack_from("<HBBI", code, 8 * at)
        at += 1
        if step == 0x06:
            return int(value)
        if step == 0x20:
            word = struct.unpack_from("<I", data, value)[0]
        else:
            assert step in (0x15, 0x45)
            at += jump_true if (word == value if step == 0x15 else word & value) else jump_false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_and_nothing_else(machine: str) -> None:
    table = seccomp._MACHINES[machine]
    allowed = {number for number in range(600) if run(machine, number) == seccomp._ALLOW}
    assert allowed == {table.mmap, *table.others}
    assert {run(machine, number) for number in set(range(600)) - allowed} == {seccomp._REFUSE}
    assert run(machine, table.mmap, third=3) == seccomp._ALLOW  # to read and write
    assert run(machine, table.mmap, third=7) == seccomp._REFUSE  # and to execute
    assert run(machine, 0x40000000 + table.others[0]) == seccomp._REFUSE  # x86-64's second set of numbers
    assert run(machine, table.others[0], audit=0x40000003) == seccomp._KILL  # a 32-bit call


def test_a_machine_without_a_filter_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(OSError, match="no filter of system calls is written for riscv64"):
        seccomp.install()
