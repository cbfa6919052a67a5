"""The one rule by which all commands end, on programs of a few lines: a process each, started in milliseconds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
import os, signal, sys, time
from maskline_command.ending import ending
from maskline_command.signals import held, has_come
def send(number=signal.SIGINT):
    os.kill(os.getpid(), number)
"""

BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run(body: str, shell: str = 'exec "$@"', **options: object) -> subprocess.CompletedProcess[str]:
    """Run a body within `ending`, started by a line of shell."""
    code = f"{HEAD}\nwith ending('prog', extra='train'):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    words = ["sh", "-c", shell, "sh", sys.executable, "-c", code]
    return subprocess.run(words, env=BUFFERED, capture_output=True, text=True, timeout=60, check=False, **options)  # type: ignore[call-overload]


def answer(body: str, shell: str = 'exec "$@"') -> tuple[int, str]:
    done = run(body, shell)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)], ids=["Ctrl-C", "kill", "hang-up"]
)
def test_a_signal_undoes_what_was_begun_and_gives_the_shells_status(name: str, status: int, tmp_path: Path) -> None:
    body = f"""
    path = {str(tmp_path / "half")!r}
    try:
        open(path, "w").close()
        send(signal.{name})
        time.sleep(30)
    finally:
        os.remove(path)
    """
    assert answer(body) == (status, f"prog: stopped by {name}\n")
    assert not list(tmp_path.iterdir())


def test_what_undoes_is_not_interrupted_by_the_same_ctrl_c_twice() -> None:
    body = """
    try:
        send()
        time.sleep(30)
    finally:
        send()
        time.sleep(0.2)
        print("undone", flush=True)
    """
    done = run(body)
    assert (done.returncode, done.stdout) == (130, "undone\n")


def test_a_second_ctrl_c_after_two_seconds_ends_at_once() -> None:
    body = """
    try:
        send()
        time.sleep(30)
    finally:
        time.sleep(2.1)
        send()
        time.sleep(30)
    """
    assert answer(body) == (-signal.SIGINT, "")


def test_what_the_caller_has_us_ignore_stays_ignored() -> None:
    assert answer("send(signal.SIGHUP); print('goes on')", "trap '' HUP; exec \"$@\"") == (0, "")


def test_a_loading_process_ends_as_without_us() -> None:
    """DataLoader ends its processes by SIGTERM, and catches KeyboardInterrupt in them."""
    body = """
    child = os.fork()
    if not child:
        os.write(1, b"child")
        time.sleep(30)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"child{-signal.SIGTERM}\n", "")


def test_an_exception_that_was_swallowed_comes_again() -> None:
    body = """
    class Swallows:
        def __del__(self):
            send()
            for _ in range(1000): pass
    Swallows()
    time.sleep(30)
    """
    assert answer(body) == (130, "prog: stopped by SIGINT\n")


def test_ctrl_c_while_a_module_is_imported_comes_after_it(tmp_path: Path) -> None:
    """C code turns an exception of its imports into an ImportError of its own, as numpy's does."""
    (tmp_path / "c_like.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    for _ in range(10**5): pass\n"
        "except BaseException:\n    raise ImportError('core failed to import')\n"
    )
    assert answer(f"sys.path.insert(0, {str(tmp_path)!r})\nimport c_like\ntime.sleep(30)") == (
        130,
        "prog: stopped by SIGINT\n",
    )


def test_a_reminder_that_wakes_nobody_is_sent_again() -> None:
    """One that comes after the interpreter's last look and before a wait has begun does not end that wait."""
    body = """
    kill, lost = os.kill, []
    os.kill = lambda *sent: kill(*sent) if lost else lost.append(sent)
    class Swallows:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000): pass
    Swallows()
    try:
        time.sleep(5)
    finally:
        print(len(lost))
    """
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (130, "1\n", "prog: stopped by SIGINT\n")


def test_a_build_in_c_is_asked_to_end_and_raises_afterwards() -> None:
    body = """
    with held():
        send()
        while not has_come():
            time.sleep(0.01)
        print("the build ended", flush=True)
    print("never")
    """
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (130, "the build ended\n", "prog: stopped by SIGINT\n")


def test_a_reader_that_has_left_is_no_news() -> None:
    done = run("while True: print('line')", '("$@"; echo $? >&2) | head -1')
    assert (done.stdout, done.stderr) == ("line\n", "141\n")


def test_a_reader_that_left_before_the_last_flush_counts_too() -> None:
    assert answer("print('line'); time.sleep(0.3)", '("$@"; echo $? >&2) | true')[1] == "141\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_stdout_is_one_line() -> None:
    assert answer("print('line')", 'exec "$@" >/dev/full') == (1, "prog: standard output: no space left on device\n")


@pytest.mark.parametrize("streams", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_nowhere_and_no_file_takes_its_place(streams: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    body = f"""
    file = open({str(path)!r}, "w")
    print("line", flush=True)
    assert os.system("echo line && echo line >&2") == 0
    print("line", file=sys.stderr, flush=True)
    assert not sys.stdin.isatty()
    """
    assert run(body, f'exec "$@" {streams}').returncode == 0
    assert path.read_text() == ""


def test_stderr_that_nobody_reads_stops_no_work() -> None:
    body = """
    for _ in range(1000):
        print("progress", file=sys.stderr, flush=True)
    print("done")
    """
    reader, writer = os.pipe()
    os.close(reader)
    code = f"{HEAD}\nwith ending('prog', extra='train'):\n{body}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=BUFFERED, stdout=subprocess.PIPE, stderr=writer, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_an_expected_failure_is_one_line_and_a_mistake_of_ours_keeps_its_traceback() -> None:
    assert answer("open('/nowhere/file')") == (1, "prog: /nowhere/file: no such file or directory\n")
    assert answer("raise ValueError('two\\n  lines')") == (1, "prog: two lines\n")
    assert "Traceback" in answer("raise KeyError('ours')")[1]


def test_of_a_copy_the_file_that_could_not_be_written_is_named(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "none" / "target"
    source.write_text("text")
    status, said = answer(f"os.rename({str(source)!r}, {str(target)!r})")
    assert (status, said) == (1, f"prog: {target}: no such file or directory\n")
