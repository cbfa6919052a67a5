"""A machine that runs out of something: disk, shared memory, memory, open files; a clock that jumps."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

from faults.kind import CannotRunError, Kind
from faults.scene import BOUNDED_S, REFUSALS, SIZE, Load, Scene, ask, in_namespace, possible
from maskline_serve.server.supervise import children
from serve import standin
from serve.conftest import send
from serve.test_server import wait_until
from support.serving.watched import Watched
from tritonclient import grpc as triton

CGROUP = Path("/sys/fs/cgroup/memory")


def _mounts() -> None:
    """Say so where this process may not mount."""
    if not possible(*in_namespace("--mount", "mount -t tmpfs none /mnt"), "true"):
        raise CannotRunError("mounting a file system in a namespace of its own needs root")


def _in(run: Watched, *command: str) -> int:
    """Run a command where the server sees it."""
    return subprocess.run(
        ["nsenter", "-t", str(run.process.pid), "-m", *command], capture_output=True, check=False, timeout=BOUNDED_S
    ).returncode


def disk_full_at_start(scene: Scene) -> str:
    _mounts()
    wrapper = in_namespace("--mount", f"mount -t tmpfs -o size=64k none {scene.folder}")
    line = scene.refused(wrapper=wrapper, environ={**os.environ, "TMPDIR": str(scene.folder)})
    assert "No space left" in line or "no space left" in line, line
    return line


def disk_full_while_it_runs(scene: Scene) -> str:
    """The disk with the work folder is full when the server has to start again, and has room later."""
    _mounts()
    wrapper = in_namespace("--mount", f"mount -t tmpfs -o size=24m none {scene.folder}")
    environ = {**os.environ, "TMPDIR": str(scene.folder)}
    run = Watched(scene.repository, ["--restart"], wrapper, environ)
    try:
        # Somebody takes every byte, also those of the dead server's folder, for six seconds.
        fill = f"dd if=/dev/zero of={scene.folder}/full bs=64k oflag=append conv=notrunc"
        taker = f"for i in $(seq 60); do {fill}; sleep 0.1; done"
        words = ["nsenter", "-t", str(run.process.pid), "-m", "sh", "-c", taker]
        with subprocess.Popen(words, stderr=subprocess.DEVNULL):
            time.sleep(1)
            assert run.answers()
            os.kill(run.server, 9)
            wait_until(lambda: run.health()["restarts"] >= 2, BOUNDED_S, "a start that fails")
            reason = run.health()["reason"]
            assert "o space left" in reason, reason
        _in(run, "rm", f"{scene.folder}/full")
        wait_until(lambda: run.get("/health")[0] == 200, BOUNDED_S, "the restart")
        assert run.answers()
        return f"answers go on; a start said: {reason}; serves once there is room"
    finally:
        run.stop(BOUNDED_S)
        run.end()


def shm_too_small(scene: Scene) -> str:
    _mounts()
    return scene.refused(wrapper=in_namespace("--mount", "mount -t tmpfs -o size=8m none /dev/shm"))


def shm_full(scene: Scene) -> str:
    """Regions must grow for a file of 20 MB, and cannot."""
    _mounts()
    wrapper = in_namespace("--mount", "mount -t tmpfs -o size=96m none /dev/shm")
    run = Watched(scene.repository, ["--restart"], wrapper)
    large = standin.picture(3, SIZE) + bytes(20 << 20)  # a PNG with a tail, which readers pass over
    try:
        assert _in(run, "dd", "if=/dev/zero", "of=/dev/shm/full", "bs=1M") != 0
        counts: Counter[str] = Counter()
        with triton.InferenceServerClient(run.grpc) as client:
            for file in (standin.picture(3, SIZE), large, standin.picture(3, SIZE)):
                try:
                    counts["right" if send(client, [file])["num_detections"].item() == 3 else "wrong"] += 1
                except triton.InferenceServerException as error:
                    counts[str(error.status()).removeprefix("StatusCode.")] += 1
            assert "wrong" not in counts, counts
            _in(run, "rm", "/dev/shm/full")
            wait_until(lambda: ask(client, 3) == "right", BOUNDED_S, "an answer once there is room")
        return f"{dict(counts)}; {run.health()['restarts']} restarts; serves once there is room"
    finally:
        run.stop(BOUNDED_S)
        run.end()


def memory_limit_at_start(scene: Scene) -> str:
    """A limit of address space, as `ulimit -v` and batch systems set it."""
    line = scene.refused(wrapper=["sh", "-c", 'ulimit -v 900000; exec "$@"', "sh"])
    assert "under a limit of 878 MiB of address space (`ulimit -v`)" in line, line
    return line


def out_of_memory(scene: Scene) -> str:
    """The kernel kills a process of the server that meets the limit of its control group."""
    group = CGROUP / f"maskline-faults-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        raise CannotRunError(f"no control group of memory can be made: {error.strerror}") from None
    try:
        with scene.serving("--restart") as run, triton.InferenceServerClient(run.grpc) as client:
            stub = run.stub("preprocess")
            limit = 60 << 20
            (group / "memory.limit_in_bytes").write_text(str(limit))
            for pid in (stub, *children(stub)):  # what decodes is a process of its own
                (group / "cgroup.procs").write_text(str(pid))
            huge = standin.picture(1, (6000, 8000))
            outcome = "right"
            try:
                send(client, [huge])
            except triton.InferenceServerException as error:
                outcome = str(error.status()).removeprefix("StatusCode.")
            assert outcome in ("INTERNAL", *REFUSALS), outcome
            wait_until(lambda: ask(client, 3) == "right" and run.get("/health")[0] == 200, BOUNDED_S, "an answer")
            restarts = run.health()["restarts"]
            return f"killed at {limit >> 20} MiB by a picture of 48 megapixels: {outcome}; {restarts} restarts, serves"
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), BOUNDED_S, "the end of its processes")
        group.rmdir()


def few_open_files(scene: Scene) -> str:
    line = scene.refused(wrapper=["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"])
    assert "open files: got a limit of 256, expected 1024 or more" in line
    return line


def open_files_used_up(scene: Scene) -> str:
    """More connections than the server may have files open; those that were there before are answered."""
    with scene.serving("--restart", wrapper=["sh", "-c", 'ulimit -n 1024; exec "$@"', "sh"]) as run:
        host, _, port = run.grpc.rpartition(":")
        with Load(run.grpc) as load:
            flood = []
            for _ in range(1200):
                flood.append(socket.create_connection((host, int(port)), 30))
            load.until(100)
            for connection in flood:
                connection.close()
        wait_until(run.answers, BOUNDED_S, "a new client")
        return f"1200 connections, 1024 files: {load.only()}; {run.health()['restarts']} restarts"


def uptime_of_a_year(scene: Scene) -> str:
    """Clocks since boot are a year ahead, in a namespace of time."""
    year = str(365 * 86_400)
    wrapper = ["unshare", "--time", "--monotonic", year, "--boottime", year, "--fork", "--kill-child", "--"]
    if not possible(*wrapper, "true"):
        raise CannotRunError("a namespace of time needs root and Linux 5.6")
    probe = subprocess.run([*wrapper, "cat", "/proc/uptime"], capture_output=True, text=True, check=True)
    with scene.serving("--restart", wrapper=["unshare", "--time", "--monotonic", year, "--boottime", year]) as run:
        with Load(run.grpc) as load:
            load.until(200)
            time.sleep(5)
        assert run.health()["restarts"] == 0
        return f"/proc/uptime says {float(probe.stdout.split()[0]) / 86_400:.0f} days; {load.only()}, no restart"


KINDS = (
    Kind("disk-full-at-start", "$TMPDIR has 64 KiB", "status 1, one line that says so", disk_full_at_start),
    Kind(
        "disk-full-while-it-runs",
        "$TMPDIR becomes full, then the server is killed, with `--restart`; later there is room",
        "answers go on; a start that fails is said and tried again; serves once there is room",
        disk_full_while_it_runs,
    ),
    Kind("shm-too-small", "/dev/shm has 8 MiB", "status 1, one line in bounded time", shm_too_small),
    Kind(
        "shm-full",
        "/dev/shm becomes full, then a request needs more of it",
        "an error or a right answer, none wrong; serves once there is room",
        shm_full,
    ),
    Kind(
        "memory-limit",
        "`ulimit -v` of 900 MB",
        "status 1, one line with the limit, in bounded time",
        memory_limit_at_start,
    ),
    Kind(
        "out-of-memory",
        "the kernel kills what decodes at the limit of its control group, with `--restart`",
        "INTERNAL or UNAVAILABLE for the request; serves on, with a restart or without",
        out_of_memory,
    ),
    Kind("few-open-files", "`ulimit -n 256`", "status 1, one line with the number that is needed", few_open_files),
    Kind(
        "open-files-used-up",
        "1200 connections at a server that may have 1024 files open",
        "clients that were there are answered rightly; new ones once there is room",
        open_files_used_up,
    ),
    Kind(
        "uptime-of-a-year",
        "all clocks since boot are a year ahead",
        "every answer right, no restart",
        uptime_of_a_year,
    ),
)
