"""What lies around a start: ports, networks, proxies, $TMPDIR, the reader of the log."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from faults.kind import CannotRunError, Kind
from faults.scene import BOUNDED_S, Load, Scene, in_namespace, possible
from maskline_serve.server.supervise import children
from serve.test_server import COMMAND, wait_until
from support.serving.watched import PORTS, headers, own_line
from tritonclient import grpc as triton

DEAD_PROXY = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "grpc_proxy")


def port_in_use(scene: Scene) -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        lines = [
            scene.refused(option, port) for option in ("--grpc-port", "--http-port", "--metrics-port", "--health-port")
        ]
    assert all(f"port {port} on 127.0.0.1: address already in use" in line for line in lines), lines
    return lines[0]


def port_taken_after_the_check(scene: Scene) -> str:
    """Taken as soon as the supervisor runs, which is after our check and before the server's own bind."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [*COMMAND, "run", str(scene.repository), *PORTS, "--grpc-port", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():
            time.sleep(0.005)
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", port))
            thief.listen()
            _, err = process.communicate(timeout=BOUNDED_S)
        assert process.returncode == 1, err
        line = own_line(err.splitlines())
        # Ports of 0 make the start try again, on the one that was asked for too: it is in use then.
        assert f"port {port} on 127.0.0.1" in line, line
        return line
    finally:
        process.kill()


def proxies(scene: Scene) -> str:
    environ = {**os.environ, **dict.fromkeys(PROXIES, DEAD_PROXY)}
    with scene.serving(environ=environ) as run:
        wait_until(lambda: run.health()["seconds_since_right_canary"] < 1, BOUNDED_S, "a canary image")
        assert run.answers()
        return "starts, watches and serves"


def no_exec(scene: Scene) -> str:
    if not possible(*in_namespace("--mount", "mount -t tmpfs none /mnt"), "true"):
        raise CannotRunError("mounting a file system in a namespace of its own needs root")
    wrapper = in_namespace("--mount", f"mount -t tmpfs -o noexec none {scene.folder}")
    line = scene.refused(wrapper=wrapper, environ={**os.environ, "TMPDIR": str(scene.folder)})
    assert f"{scene.folder} forbids execution" in line, line
    return line


def no_tmpdir(scene: Scene) -> str:
    environ = {**os.environ, "TMPDIR": str(scene.folder / "nowhere")}
    with scene.serving(environ=environ) as run:
        assert run.answers()
        return f"serves from {run.work_folder.parent}"


def log_reader_stops(scene: Scene) -> str:
    """stderr is a pipe that nobody reads, and the server writes a lot."""
    process = subprocess.Popen(
        [*COMMAND, "run", str(scene.repository), *PORTS, "--verbose", "--canary-s", "1", "--canary-deadline-s", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        text = ""
        for line in process.stdout:
            text += line
            if "Ctrl-C" in line:
                break
        url = re.search(r"gRPC +(\S+)", text)[1]
        with triton.InferenceServerClient(url) as client:
            (supervisor,) = children(process.pid)
            client.update_log_settings({"log_verbose_level": 1}, headers=headers(children(supervisor)[0]))
        with Load(url) as load:
            load.until(500)
        assert process.poll() is None
        process.terminate()
        _, err = process.communicate(timeout=BOUNDED_S)
        assert process.returncode == 0, err[-600:]
        return f"{load.only()}, {len(err) >> 10} KiB of log read in the end"
    finally:
        process.kill()
        process.communicate()


_IN_IPV6 = """
import sys
sys.path.insert(0, sys.argv[2])
from faults.scene import ask
from tritonclient import grpc as triton
with triton.InferenceServerClient(sys.argv[1]) as client:
    print(*(ask(client, count) for count in range(0, 100, 11)))
"""


def ipv6_alone(scene: Scene) -> str:
    """A network of its own in which the loopback has ::1 and no address of IPv4."""
    script = "ip link set lo up; ip -4 addr flush dev lo"
    if not possible(*in_namespace("--net", script), "true"):
        raise CannotRunError("a network namespace needs root, `ip` and IPv6")
    with scene.serving("--host", "::1", wrapper=in_namespace("--net", script)) as run:
        tests = str(Path(__file__).parents[1])
        asked = subprocess.run(
            ["nsenter", "-t", str(run.process.pid), "-n", sys.executable, "-c", _IN_IPV6, run.grpc, tests],
            capture_output=True,
            text=True,
            timeout=BOUNDED_S,
            check=False,
        )
        assert set(asked.stdout.split()) == {"right"}, asked.stderr[-600:]
        return f"{len(asked.stdout.split())} answers right at {run.grpc}"


KINDS = (
    Kind("port-in-use", "each of the four ports is in use", "status 1, one line with port and option", port_in_use),
    Kind(
        "port-taken-after-the-check",
        "the gRPC port is taken between our check and the server's start",
        "status 1, one line with the port",
        port_taken_after_the_check,
    ),
    Kind("proxies", "proxies of nowhere in all six variables", "starts, watches and serves", proxies),
    Kind("tmpdir-without-exec", "$TMPDIR forbids execution", "status 1, one line that says so", no_exec),
    Kind("tmpdir-missing", "$TMPDIR does not exist", "serves from /tmp, as Python's tempfile does", no_tmpdir),
    Kind(
        "log-reader-stops",
        "stderr is a pipe that nobody reads, `--verbose`, the server logs each request",
        "every answer right; SIGTERM ends it with 0",
        log_reader_stops,
    ),
    Kind("ipv6-alone", "no address of IPv4, `--host ::1`", "serves and is watched", ipv6_alone),
)
