"""What runs in the container, run here: its health check, and its launch file as another user on read-only ground."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from maskline_client import Detector
from maskline_serve.server import find_server
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.front_door import box
from serve.front_door.http import ask
from serve.test_server import START_S, STOP_S, processes_of, wait_until, work_folder
from support.served_models import model_of

pytestmark = pytest.mark.triton
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+(?==)")


def health(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The health check, with the Python that is at hand and a proxy that must not be asked."""
    command = [sys.executable, "-I", str(box.DEPLOY / "health.py"), "--url", f"http://{url}", *arguments]
    environ = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    return subprocess.run(command, capture_output=True, text=True, timeout=START_S, env=environ, check=False)


def assert_ill(done: subprocess.CompletedProcess[str], text: str) -> None:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert text in line


def test_a_good_server_is_well(server: TritonServer) -> None:
    done = health(server.http_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_ill_is_said_in_one_line(server: TritonServer) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{listener.getsockname()[1]}"
    assert_ill(health(nobody), "Connection refused")
    assert_ill(health(server.http_url, "--model", "no_such"), "status 404: ")
    assert_ill(health(server.http_url, "--model", "maskrcnn_engines"), "status 400: ")
    assert_ill(health(server.metrics_url), "status 405")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert_ill(health(f"127.0.0.1:{silent.getsockname()[1]}", "--timeout-s", "0.5"), "timed out")


def answer(**changed: list[float]) -> dict[str, list[dict[str, object]]]:
    """Triton's JSON of one object in the check's picture and a row of padding."""
    good = {
        "image_size": [48, 64],
        "num_detections": [1],
        "boxes": [1, 2, 64, 48, 0, 0, 0, 0],
        "scores": [0.9, 0],
    }
    return {"outputs": [{"name": name, "data": data} for name, data in {**good, **changed}.items()]}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, ""),
        ({"image_size": [64, 48]}, "got image_size [64, 48], expected [48, 64]"),
        ({"num_detections": [3]}, "got num_detections 3, expected 0 to 2"),
        ({"scores": [float("nan"), 0]}, "got boxes or scores that are not finite"),
        ({"boxes": [1, 2, 65, 48, 0, 0, 0, 0]}, "got boxes outside the picture"),
        ({"boxes": [1, 2, 64, 49, 0, 0, 0, 0]}, "got boxes outside the picture"),
    ],
)
def test_a_wrong_answer_is_named(changed: dict[str, list[float]], text: str) -> None:
    assert runpy.run_path(str(box.DEPLOY / "health.py"))["problem"](answer(**changed)) == text


def test_a_server_whose_http_is_closed_is_ill(mutual: TritonServer) -> None:
    """`maskline-serve run` beside TLS; the container's HTTP takes images inside the container."""
    assert_ill(health(mutual.http_url), "status 403: ")


@pytest.mark.parametrize("file", ["launch.sh", "onnxruntime-gpu/launch.sh", "tensorrt/launch.sh", "compose.mtls.yaml"])
def test_every_flag_is_known_to_the_server(file: str) -> None:
    installation = find_server.find()
    shown = subprocess.run(
        [str(installation.program), "--help"],
        env=find_server.environment(installation), capture_output=True, text=True, check=False,
    )  # fmt: skip
    known = set(re.findall(r"^  (--[a-z-]+)", shown.stdout + shown.stderr, re.MULTILINE))
    flags = set(FLAG.findall((box.DEPLOY / file).read_text(encoding="utf-8")))
    assert len(flags) >= 4
    assert flags <= known


@pytest.mark.parametrize("file", ["launch.sh", "onnxruntime-gpu/launch.sh", "tensorrt/launch.sh"])
def test_containers_close_what_run_closes(file: str) -> None:
    text = (box.DEPLOY / file).read_text(encoding="utf-8")
    (closed,) = re.findall(r"^closed=(\S+)$", text, re.MULTILINE)
    written = re.findall(r"--(?:grpc-restricted|http-restricted|allow)\S+", text)
    flags = {word.replace('"', "").replace("$closed", closed).replace("$key", "KEY") for word in written}
    assert flags == set(FrontDoor(key="KEY").flags())


class Served:
    """A server in the box: its process and where its services are."""

    def __init__(self, folder: Path, process: subprocess.Popen[str], ports: list[int]) -> None:
        self.folder, self.process = folder, process
        self.grpc_url, self.http_url, self.metrics_url = (f"127.0.0.1:{port}" for port in ports)

    def seen(self, path: str) -> list[str]:
        """Files on the file system of a folder, as the server sees it."""
        root = Path(f"/proc/{self.process.pid}/root{path}")
        here = root.stat().st_dev
        return [
            str(file.relative_to(root)) for file in root.rglob("*") if file.is_file() and file.stat().st_dev == here
        ]

    def is_ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")[-3000:]
        with contextlib.suppress(OSError):
            return ask(self.http_url, "GET", "/v2/health/ready").status == 200
        return False


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture(scope="module")
def contained(repository: Path) -> Iterator[Served]:
    """The launch file in the box, serving."""
    with box.image(repository) as folder:
        if reason := box.missing(folder):
            pytest.skip(reason)
        ports = free_ports(3)
        options = [f"--{name}-port={port}" for name, port in zip(("grpc", "http", "metrics"), ports, strict=True)]
        command = box.entering(folder, "sh", f"{folder}/launch.sh", "--grpc-address=127.0.0.1", *options)
        with (folder / "log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                command, env=box.environment(folder), stdout=log, stderr=subprocess.STDOUT, text=True, cwd="/"
            )
        served = Served(folder, process, ports)
        try:
            wait_until(served.is_ready, START_S, "starting in the box")
            yield served
        finally:
            process.kill()
            process.wait()


def test_the_server_has_no_rights_and_nowhere_to_write(contained: Served) -> None:
    status = Path(f"/proc/{contained.process.pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(fields["Uid"].split()) == {str(box.USER)}
    assert (int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"]) == (0, 0, "1")
    mounts = Path(f"/proc/{contained.process.pid}/mounts").read_text(encoding="utf-8").splitlines()
    last = {line.split()[1]: line.split()[3].split(",") for line in mounts}  # a later mount lies over an earlier one
    assert "ro" in last["/"]
    assert "ro" in last[str(contained.folder)]
    assert {"rw", "noexec", "nosuid", "nodev"} <= set(last["/tmp"])


def test_it_serves_and_writes_to_shared_memory_alone(contained: Served) -> None:
    assert health(contained.http_url).returncode == 0
    with Detector(contained.grpc_url, deadline_s=START_S) as detector:
        assert len(detector.detect(standin.picture(5))) == 5
    assert contained.seen("/tmp") == []
    assert contained.seen("/dev/shm")


def test_shared_memory_is_for_everyone_to_read(server: TritonServer) -> None:
    """What docs/security.md says of other users of one machine: Triton 24.10 gives its regions this mode."""
    (region, *_) = Path("/dev/shm").glob(f"{work_folder(server.pid).name}*")
    assert region.stat().st_mode & 0o777 == 0o644


def test_what_is_closed_there_stays_closed(contained: Served) -> None:
    assert ask(contained.http_url, "POST", "/v2/repository/index").status == 403
    assert ask(contained.http_url, "GET", "/v2/logging").status == 403
    assert ask(contained.http_url, "GET", "/v2/models/maskrcnn/config").status == 200


def test_it_is_ill_once_a_models_process_has_died(contained: Served) -> None:
    """The last test of this server. It stays ready (release 24.10)."""
    step = model_of(contained.folder, "postprocess")
    (stub,) = processes_of(f"{step}/1/model.py")
    os.kill(stub, signal.SIGKILL)
    wait_until(lambda: not processes_of(f"{step}/1/model.py"), STOP_S, "the death of the stub")
    assert contained.is_ready()
    assert_ill(health(contained.http_url), "status 500: ")
