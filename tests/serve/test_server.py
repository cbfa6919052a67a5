"""Starting and stopping the real server: what is said when something is wrong, and that nothing is left behind."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from maskline_serve.errors import (
    ModelNotLoadedError,
    PortTakenError,
    ServerFailedError,
)
from maskline_serve.repository.assemble import assemble
from maskline_serve.repository.libraries import BACKEND_PLACE
from maskline_serve.repository.names import word_of
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import canary
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.process import Ports
from maskline_serve.server.triton_server import TritonServer
from serve import standin
from serve.conftest import Pending, send
from support.served_models import model_of
from tritonclient import grpc as triton

pytestmark = pytest.mark.triton

COMMAND = [sys.executable, "-c", "from maskline_serve.cli import main; main()"]
START_S = 90.0  # two loaded cores; 3 s on idle ones
STOP_S = 40.0


def processes_of(word):
    """Process ids whose command line holds the word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
        time.sleep(0.05)


def work_folder(supervisor_pid):
    """The private folder of a server; its name marks its processes and shared memory."""
    arguments = Path(f"/proc/{supervisor_pid}/cmdline").read_bytes().split(b"\0")
    return Path(next(text for text in arguments if b"maskline-serve-" in text and text.startswith(b"/")).decode())


def assert_gone(folder):
    wait_until(lambda: not processes_of(folder.name), STOP_S, "ending the processes")
    assert not list(Path("/dev/shm").glob(f"{folder.name}*"))
    assert not folder.exists()


class Run:
    """`maskline-serve run REPO` as a person starts it, on free ports."""

    def __init__(self, repository, *arguments, **environ):
        ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
        self.process = subprocess.Popen(
            [*COMMAND, "run", str(repository), *ports, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )

    def wait_until_serving(self):
        """Read what it prints until the last line of the announcement; returns that text."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                return "".join(lines)
        raise AssertionError(self.process.communicate()[1])

    def _children(self):
        return Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()

    def has_supervisor(self):
        return any(b"supervise.py" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self._children())

    @property
    def work_folder(self):
        return work_folder(int(self._children()[0]))


# ---- a server that runs


def test_serves_and_tells(server, client):
    assert client.is_server_ready()
    assert server.version.startswith("2.")
    assert {server.grpc_url, server.http_url, server.metrics_url} == {
        f"127.0.0.1:{url.rpartition(':')[2]}" for url in (server.grpc_url, server.http_url, server.metrics_url)
    }
    names = {model.name for model in client.get_model_repository_index(server.front_door.headers).models}
    assert names == {path.name for path in server.repository.models.iterdir()}


def test_repository_stays_as_assembled(server, client):
    send(client, [standin.picture(3)])
    assert server.repository.changes() == {}


def stubs_of(repository):
    """Processes of Python: preprocess, three postprocess; of three stages too where no library of ours runs them."""
    return 4 if BACKEND_PLACE in Repository.load(repository).files else 7


def end(run):
    run.process.kill()
    run.process.communicate()


def test_sigterm_leaves_nothing_behind(repository):
    """With requests in flight: each is answered, or refused as UNAVAILABLE (the server stops between two steps)."""
    run = Run(repository, "--drain-s", "5")
    try:
        announcement = run.wait_until_serving()
        assert "the canary image came back right" in announcement
        folder = run.work_folder
        # Stubs, the server, its supervisor; a region a stub. Without them this would prove nothing.
        assert len(processes_of(folder.name)) == stubs_of(repository) + 2
        assert len(list(Path("/dev/shm").glob(f"{folder.name}*"))) == stubs_of(repository)
        url = next(line.split()[1] for line in announcement.splitlines() if line.startswith("  gRPC"))
        with triton.InferenceServerClient(url) as client:
            pending = [Pending(client, [standin.picture(1, (2000, 3000))]) for _ in range(4)]
            time.sleep(0.1)
            run.process.send_signal(signal.SIGTERM)
            _, err = run.process.communicate(timeout=STOP_S)
            assert set(map(outcome, pending)) <= {"ok", "StatusCode.UNAVAILABLE"}
        assert run.process.returncode == 0, err
        assert "Traceback" not in err
        assert err.rstrip().endswith("stopped")
        assert not processes_of(folder.name)
        assert_gone(folder)
    finally:
        end(run)


def outcome(request):
    """`ok` or the status of the error."""
    try:
        return "ok" if request.answer()["num_detections"].item() == 1 else "wrong"
    except triton.InferenceServerException as error:
        return error.status()


def test_sigkill_leaves_nothing_behind(repository, tmp_path):
    """In a folder that a shell would take apart, in a $TMPDIR of that kind: Triton starts its stubs by a shell."""
    awkward = tmp_path / "Müller's [old] models; 1"
    shutil.copytree(repository, awkward / "repository")
    run = Run(awkward / "repository", "--drain-s", "5", TMPDIR=str(awkward))
    try:
        assert str(awkward) in run.wait_until_serving().replace("\n", "")
        folder = run.work_folder
        # And the one that decodes: the models of such a folder are reached by a link in the work folder.
        assert len(processes_of(folder.name)) == stubs_of(repository) + 3
        run.process.kill()
        assert_gone(folder)
    finally:
        end(run)


def test_ctrl_c_while_it_starts_leaves_nothing_behind(repository):
    run = Run(repository, "--drain-s", "5")
    try:
        wait_until(run.has_supervisor, START_S, "starting the supervisor")
        folder = run.work_folder
        wait_until(lambda: len(processes_of(folder.name)) > 2, START_S, "starting the first stub")
        run.process.send_signal(signal.SIGINT)
        _, err = run.process.communicate(timeout=STOP_S)
        assert run.process.returncode == 0, err
        assert "Traceback" not in err
        assert_gone(folder)
    finally:
        end(run)


@pytest.fixture
def ipv6():
    """The loopback address of IPv6, where this machine has one."""
    try:
        with socket.socket(socket.AF_INET6) as listener:
            listener.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    return "::1"


def test_all_three_services_listen_on_ipv6(mask_alone, ipv6):
    """Without the ensembles there is no canary to answer; what listens shows before that."""
    seen = []
    server = TritonServer(mask_alone, front_door=FrontDoor(ipv6), drain_s=5, show=seen.append, verbose=True)
    with pytest.raises(ServerFailedError, match=r"canary image: .*unknown model"), server:
        pass
    started = " ".join(line for line in seen if "Started" in line)
    assert "GRPCInferenceService at [::1]:" in started
    assert "HTTPService at ipv6:::1:" in started
    assert "Metrics Service at ipv6:::1:" in started


# ---- what keeps it from running


def test_port_taken_is_named(repository):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        for name in ("grpc_port", "http_port", "metrics_port"):
            with (
                pytest.raises(PortTakenError, match=rf"port {port} on 127\.0\.0\.1: address already in use"),
                TritonServer(repository, **{name: port}),
            ):
                pass


def test_another_server_that_took_the_port_first_is_not_taken_for_this_one(repository, server, monkeypatch):
    """The other answers on that port, says that it is ready, and would answer the canary."""
    other = Ports(*(int(url.rpartition(":")[2]) for url in (server.grpc_url, server.http_url, server.metrics_url)))
    free, first = Ports.claim, iter((other,))
    monkeypatch.setattr(Ports, "claim", lambda *places: next(first, None) or free(*places))
    with TritonServer(repository, drain_s=5) as running:
        assert next(first, None) is None
        assert running.grpc_url != server.grpc_url


@pytest.fixture
def mask_alone(artifact, tmp_path):
    """A repository with one model left: quick to start, and to fail."""
    assemble(artifact, tmp_path / "repository")
    for folder in (tmp_path / "repository" / "models").iterdir():
        if word_of(folder.name) != "mask":
            shutil.rmtree(folder)
    return tmp_path / "repository"


def test_model_that_does_not_load_is_named(mask_alone):
    (model_of(mask_alone, "mask") / "1" / "model.onnx").write_bytes(b"not onnx")
    with (
        pytest.raises(ModelNotLoadedError, match=r"model mask-\w{12} did not load: .*mask.*model\.onnx"),
        TritonServer(mask_alone, drain_s=5),
    ):
        pass
    assert not processes_of(str(mask_alone))


def test_config_with_an_unknown_field_is_named(mask_alone):
    path = model_of(mask_alone, "mask") / "config.pbtxt"
    path.write_text(path.read_text() + "no_such_field: 1\n")
    with (
        pytest.raises(ModelNotLoadedError, match=r"model mask-\w{12} did not load: .*config\.pbtxt"),
        TritonServer(mask_alone, drain_s=5),
    ):
        pass


# ---- the canary


def test_canary_of_the_real_server(client, repository):
    description = Repository.load(repository)
    assert canary.check(client, description, timeout_s=START_S) == 0  # the ramp starts black: no objects
    with pytest.raises(ServerFailedError, match=r"got boxes \[1, 100, 4\], expected \[1, 99, 4\]"):
        canary.check(client, dataclasses.replace(description, max_detections=99), timeout_s=START_S)


@pytest.fixture
def described(repository):
    """The stand-in's repository, as if it were one of two detections an image, with two keypoints each."""
    return dataclasses.replace(Repository.load(repository), max_detections=2, keypoints=("top", "bottom"))


def good_answer():
    return {
        "num_detections": np.array([[1]], np.int32),
        "boxes": np.array([[[1, 2, 64, 48], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0]], np.float32),
        "labels": np.array([[2, -1]], np.int32),
        "mask_rle": np.array([[b"04", b""]], np.object_),
        "keypoints": np.array([[[[5, 6, 0.5], [7, 8, 0.25]], [[0, 0, 0], [0, 0, 0]]]], np.float32),
        "image_size": np.array([[48, 64]], np.int32),
    }


@pytest.mark.parametrize(
    ("name", "index", "value", "text"),
    [
        ("num_detections", (0, 0), 3, "num_detections 3, expected 0 to 2"),
        ("boxes", (0, 0, 2), 65, "outside the image"),
        ("boxes", (0, 0, 0), np.nan, "not finite"),
        ("scores", (0, 0), np.inf, "not finite"),
        ("labels", (0, 0), 3, "labels outside 0..2"),
        ("labels", (0, 0), -1, "labels outside 0..2"),
        ("labels", (0, 1), 0, "labels outside 0..2"),
        ("mask_rle", (0, 0), b"", "mask_rle"),
        ("mask_rle", (0, 1), b"04", "mask_rle"),
        ("keypoints", (0, 0, 1, 2), np.nan, "keypoints that are not finite"),
        ("keypoints", (0, 1, 0, 0), 1, "not zero in rows past num_detections"),
        ("image_size", (0, 0), 47, "image_size"),
    ],
)
def test_canary_sees_what_is_wrong(described, name, index, value, text):
    answer = good_answer()
    assert canary.problem(answer, described) is None
    answer[name][index] = value
    assert text in canary.problem(answer, described)
