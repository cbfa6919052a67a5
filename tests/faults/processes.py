"""Processes that die, hang or are told to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from faults.kind import Kind
from faults.scene import BOUNDED_S, LARGE, REFUSALS, Load, Scene, ask
from maskline_serve.server.watch.restarts import MOST
from serve.conftest import Pending
from serve.test_server import COMMAND, assert_gone, processes_of, wait_until, work_folder
from support.serving.watched import PORTS, Watched, own_line
from tritonclient import grpc as triton

# INTERNAL is what release 24.10 says of a dead process, until ours is noticed and the server ends.
OF_A_DEAD_PROCESS = (*REFUSALS, "INTERNAL")


def _restarted(run: Watched, load: Load, *allowed: str) -> str:
    """Wait until it serves again; the time that took, and what callers got."""
    start, folder = time.monotonic(), run.work_folder
    wait_until(lambda: run.health()["restarts"] == 1, BOUNDED_S, "noticing it")
    noticed = time.monotonic() - start
    wait_until(lambda: run.get("/health")[0] == 200, BOUNDED_S, "the restart")
    back = time.monotonic() - start
    assert_gone(folder)
    load.until(20)
    return f"noticed after {noticed:.1f} s, serves after {back:.1f} s; {load.only(*allowed)}"


def _stub(word: str, number: int, *allowed: str) -> Kind:
    """A signal for the process of a model, under load."""

    def check(scene: Scene) -> str:
        with scene.serving("--restart") as run, Load(run.grpc) as load:
            os.kill(run.stub(word), number)
            return _restarted(run, load, *allowed)

    name = signal.Signals(number).name
    return Kind(
        f"{word}-{'killed' if number == signal.SIGKILL else 'hung'}",
        f"the process of `{word}` gets {name} under load, with `--restart`",
        "noticed, restarted on the same ports; no wrong answer, errors are UNAVAILABLE, CANCELLED or INTERNAL",
        check,
    )


def _server(number: int, *allowed: str) -> Kind:
    def check(scene: Scene) -> str:
        with scene.serving("--restart", "--canary-deadline-s", "3") as run, Load(run.grpc) as load:
            os.kill(run.server, number)
            if number == signal.SIGSTOP:
                wait_until(lambda: run.health()["canary_failures"] > 0, BOUNDED_S, "a canary image that fails")
                assert run.get("/health")[0] == 503
            return _restarted(run, load, *allowed)

    name = signal.Signals(number).name
    return Kind(
        f"server-{'killed' if number == signal.SIGKILL else 'hung'}",
        f"tritonserver gets {name} under load, with `--restart`",
        "noticed, restarted on the same ports; no wrong answer, requests in flight are UNAVAILABLE or CANCELLED",
        check,
    )


def supervisor_killed(scene: Scene) -> str:
    with scene.serving("--restart") as run, Load(run.grpc) as load:
        os.kill(run.supervisor, signal.SIGKILL)
        return _restarted(run, load, *REFUSALS)


def run_killed(scene: Scene) -> str:
    with scene.serving() as run, Load(run.grpc) as load:
        run.process.kill()
        start = time.monotonic()
        assert_gone(run.work_folder)
        return f"all gone after {time.monotonic() - start:.1f} s; {load.only(*REFUSALS, 'NOT_FOUND')}"


def run_and_supervisor_killed(scene: Scene) -> str:
    with contextlib.ExitStack() as stack:
        run = Watched(scene.repository)
        stack.callback(run.end)
        supervisor, folder = run.supervisor, run.work_folder
        for pid in (run.process.pid, supervisor):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(folder.name), BOUNDED_S, "the end of the processes")
        left = [folder, *Path("/dev/shm").glob(f"{folder.name}*")]
        for path in left:
            subprocess.run(["rm", "-rf", str(path)], check=True)
        return f"processes gone; left, as docs/operations.md says: its work folder and {len(left) - 1} regions"


def dies_again_and_again(scene: Scene) -> str:
    with scene.serving("--restart") as run:
        start = time.monotonic()
        for number in range(MOST + 1):
            wait_until(lambda: run.get("/health")[0] == 200, BOUNDED_S, "the restart")
            os.kill(run.server, signal.SIGKILL)
            if number < MOST:
                wait_until(lambda n=number: run.health()["restarts"] == n + 1, BOUNDED_S, "noticing it")
        assert run.process.wait(BOUNDED_S) == 1
        run._reader.join()
        assert "restarted 5 times in 10 minutes, and again: " in own_line(run.err)
        return f"status 1 after {MOST} restarts, {time.monotonic() - start:.0f} s"


def hung_without_restart(scene: Scene) -> str:
    with scene.serving("--canary-deadline-s", "2") as run:
        os.kill(run.server, signal.SIGSTOP)
        start = time.monotonic()
        assert run.process.wait(BOUNDED_S) == 1
        run._reader.join()
        line = own_line(run.err)
        assert "would start it again" in line
        return f"status 1 after {time.monotonic() - start:.1f} s: {line}"


def sigterm_under_load(scene: Scene) -> str:
    with scene.serving("--drain-s", "10") as run, Load(run.grpc, 8) as load:
        start = time.monotonic()
        run.process.terminate()
        wait_until(lambda: run.health()["status"] == "stopping", BOUNDED_S, "/health")
        assert run.process.wait(BOUNDED_S) == 0
        seconds = time.monotonic() - start
        return f"ended with 0 after {seconds:.1f} s; {load.only(*REFUSALS, 'NOT_FOUND')}"


def sigterm_twice(scene: Scene) -> str:
    """The model hangs, so that the first one takes as long as it may."""
    with scene.serving("--drain-s", "60") as run, triton.InferenceServerClient(run.grpc) as client:
        os.kill(run.stub("preprocess"), signal.SIGSTOP)
        Pending(client, [LARGE])
        run.process.terminate()
        time.sleep(3)  # a second signal within two seconds counts as an echo of the first (maskline_command.signals)
        start = time.monotonic()
        run.process.terminate()
        run.process.wait(BOUNDED_S)
        assert_gone(run.work_folder)
        return f"status {run.process.returncode}, all gone {time.monotonic() - start:.1f} s after the second"


def sigint_while_it_starts(scene: Scene) -> str:
    process = subprocess.Popen(
        [*COMMAND, "run", str(scene.repository), *PORTS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text().split(), BOUNDED_S, "the supervisor")
        wait_until(lambda: _has_folder(int(children.read_text().split()[0])), BOUNDED_S, "its work folder")
        folder = work_folder(int(children.read_text().split()[0]))
        wait_until(lambda: len(processes_of(folder.name)) > 2, BOUNDED_S, "the first stub")
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=BOUNDED_S)
        assert process.returncode == 0, err
        assert "Traceback" not in err, err
        assert_gone(folder)
        return f"all gone after {time.monotonic() - start:.1f} s"
    finally:
        process.kill()


def _has_folder(pid: int) -> bool:
    try:
        work_folder(pid)
    except (StopIteration, OSError):
        return False
    return True


_CLIENT = """
import sys
sys.path.insert(0, sys.argv[2])
from serve import standin
from serve.conftest import Pending
from tritonclient import grpc as triton
client = triton.InferenceServerClient(sys.argv[1])
pending = [Pending(client, [standin.picture(1, (2000, 3000))]) for _ in range(8)]
print("sent", flush=True)
pending[-1].answer()
"""


def client_killed(scene: Scene) -> str:
    tests = str(Path(__file__).parents[1])
    with scene.serving() as run, Load(run.grpc) as load, triton.InferenceServerClient(run.grpc) as client:
        for _ in range(3):
            doomed = subprocess.Popen([sys.executable, "-c", _CLIENT, run.grpc, tests], stdout=subprocess.PIPE)
            assert doomed.stdout.readline() == b"sent\n"
            doomed.kill()
            doomed.communicate()
        load.until(50)
        assert ask(client, 5) == "right"
        return f"three clients killed with 8 requests each; others: {load.only()}"


KINDS = (
    _stub("preprocess", signal.SIGKILL, *OF_A_DEAD_PROCESS),
    _stub("postprocess", signal.SIGKILL, *OF_A_DEAD_PROCESS),
    _stub("postprocess_raw", signal.SIGKILL, *OF_A_DEAD_PROCESS),
    _stub("preprocess", signal.SIGSTOP, *OF_A_DEAD_PROCESS),
    _server(signal.SIGKILL, *REFUSALS),
    _server(signal.SIGSTOP, *REFUSALS),
    Kind(
        "supervisor-killed",
        "`supervise.py` gets SIGKILL under load, with `--restart`",
        "the server dies with it; restarted, and what the supervisor would have removed is gone",
        supervisor_killed,
    ),
    Kind(
        "run-killed",
        "`run` gets SIGKILL under load",
        "the server ends in order, nothing of it is left; errors are UNAVAILABLE, CANCELLED or NOT_FOUND",
        run_killed,
    ),
    Kind(
        "run-and-supervisor-killed",
        "`run` and `supervise.py` get SIGKILL",
        "all processes end; regions and work folder stay, as documented",
        run_and_supervisor_killed,
    ),
    Kind(
        "dies-again-and-again",
        "tritonserver gets SIGKILL after each restart",
        f"{MOST} restarts with growing pauses, then status 1 and one line",
        dies_again_and_again,
    ),
    Kind(
        "server-hung-without-restart",
        "tritonserver gets SIGSTOP, without `--restart`",
        "status 1 and one line, nothing left",
        hung_without_restart,
    ),
    Kind(
        "sigterm-under-load",
        "SIGTERM while 8 clients call",
        "/health says so; status 0; each request is answered rightly or refused (UNAVAILABLE, CANCELLED, NOT_FOUND)",
        sigterm_under_load,
    ),
    Kind(
        "sigterm-twice",
        "SIGTERM while a model hangs with a request, `--drain-s 60`; another after 3 s",
        "the second one ends `run` at once, and the server with it: nothing left",
        sigterm_twice,
    ),
    Kind(
        "sigint-while-it-starts",
        "SIGINT while models load",
        "status 0, no traceback, nothing left",
        sigint_while_it_starts,
    ),
    Kind(
        "client-killed",
        "clients get SIGKILL with 8 large requests in flight",
        "nobody else notices: every other answer is right",
        client_killed,
    ),
)
