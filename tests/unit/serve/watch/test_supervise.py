"""The supervisor around a command that does not want to end, and what it leaves when it is killed itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from maskline_serve.server import supervise

WAIT_S = 60.0
DRAIN_S = 600  # far more than this test would wait
PARENT = """
import os, subprocess, sys
folder, script, drain = sys.argv[1:]
stubborn = "trap '' TERM; echo up; while :; do sleep 0.1; done"
words = [sys.executable, "-I", "-S", script, folder, "no-such-prefix-", str(os.getpid()), drain]
child = subprocess.Popen([*words, "--", "sh", "-c", stubborn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "up\\n"
child.stdin.close()
print(child.pid, flush=True)
child.wait()
"""


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while folder.exists():
        assert time.monotonic() < deadline, "the supervisor still drains"
        time.sleep(0.05)


def test_a_parent_that_waits_for_the_end_no_more_ends_the_drain(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    words = [sys.executable, "-c", PARENT, str(folder), supervise.__file__, str(DRAIN_S)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline())
        time.sleep(1)  # the drain has begun, and goes on
        assert folder.exists()
        parent.kill()
        wait_until_gone(folder)


def test_stubs_without_a_supervisor_are_killed_and_no_others(tmp_path: Path) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    programs = [tmp_path / folder / "backends" / "stub" for folder in ("ours", "theirs")]
    for program in programs:
        program.parent.mkdir(parents=True)
        program.symlink_to(sleep)
    ours, theirs = (subprocess.Popen([program, "600"]) for program in programs)
    try:
        supervise.kill_stubs(tmp_path / "ours")
        assert ours.wait(WAIT_S) == -9
        assert theirs.poll() is None
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()
