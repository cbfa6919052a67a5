"""Starting and stopping the real server: what is said when something is wrong, and that nothing is left behind."""

from __future__ import annotations

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
from maskline_serve import canary, install
from maskline_serve.assemble import assemble
from maskline_serve.errors import (
    ModelNotLoadedError,
    PortTakenError,
    RepositoryError,
    ServerFailedError,
    ServerNotFoundError,
)
from maskline_serve.logs import LogReader
from maskline_serve.server import TritonServer
from serve import standin
from serve.conftest import Pending, send
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
    names = {model.name for model in client.get_model_repository_index().models}
    assert names == {path.name for path in server.repository.models.iterdir()}


def test_repository_stays_as_assembled(server, client):
    send(client, [standin.picture(3)])
    assert server.repository.changes() == {}


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
        # Six Python stubs, the server, its supervisor; a region a stub. Without them this would prove nothing.
        assert len(processes_of(folder.name)) == 8
        assert len(list(Path("/dev/shm").glob(f"{folder.name}*"))) == 6
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


def test_sigkill_leaves_nothing_behind(repository):
    run = Run(repository, "--drain-s", "5")
    try:
        run.wait_until_serving()
        folder = run.work_folder
        assert len(processes_of(folder.name)) == 8
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


@pytest.fixture
def mask_alone(artifact, tmp_path):
    """A repository with one model left: quick to start, and to fail."""
    assemble(artifact, tmp_path / "repository")
    for folder in (tmp_path / "repository" / "models").iterdir():
        if folder.name != "mask":
            shutil.rmtree(folder)
    return tmp_path / "repository"


def test_model_that_does_not_load_is_named(mask_alone):
    (mask_alone / "models" / "mask" / "1" / "model.onnx").write_bytes(b"not onnx")
    with (
        pytest.raises(ModelNotLoadedError, match=r"model mask did not load: .*mask.*model\.onnx"),
        TritonServer(mask_alone, drain_s=5),
    ):
        pass
    assert not processes_of(str(mask_alone))


def test_config_with_an_unknown_field_is_named(mask_alone):
    path = mask_alone / "models" / "mask" / "config.pbtxt"
    path.write_text(path.read_text() + "no_such_field: 1\n")
    with (
        pytest.raises(ModelNotLoadedError, match=r"model mask did not load: .*config\.pbtxt"),
        TritonServer(mask_alone, drain_s=5),
    ):
        pass


# ---- the canary


def test_canary_of_the_real_server(client):
    assert canary.check(client, 100, 3, timeout_s=START_S) == 0  # the ramp starts black: no objects
    with pytest.raises(ServerFailedError, match=r"got boxes \[1, 100, 4\], expected \[1, 99, 4\]"):
        canary.check(client, 99, 3, timeout_s=START_S)


def good_answer():
    return {
        "num_detections": np.array([[1]], np.int32),
        "boxes": np.array([[[1, 2, 64, 48], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0]], np.float32),
        "labels": np.array([[2, -1]], np.int32),
        "mask_rle": np.array([[b"04", b""]], np.object_),
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
        ("image_size", (0, 0), 47, "image_size"),
    ],
)
def test_canary_sees_what_is_wrong(name, index, value, text):
    answer = good_answer()
    assert canary.problem(answer, max_detections=2, num_classes=3) is None
    answer[name][index] = value
    assert text in canary.problem(answer, max_detections=2, num_classes=3)


# ---- one line of what is wrong


def fails(arguments, **environ):
    """The one line on stderr of a command that must fail."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=START_S,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_no_repository(tmp_path):
    assert "run `maskline-serve assemble ARTIFACT" in fails(["run", tmp_path])
    with pytest.raises(RepositoryError):
        TritonServer(tmp_path)


def test_no_server_where_the_variable_points(repository, tmp_path):
    line = fails(["run", repository], TRITONSERVER=str(tmp_path))
    assert "$TRITONSERVER" in line
    assert "pip install 'maskline[serve]'" in line


def test_numpy_2_is_refused(repository, tmp_path):
    """A real installation record of numpy 2 before the real one: what `pip install -t` would leave."""
    record = tmp_path / "numpy-2.1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.1.0\n")
    line = fails(["run", repository], PYTHONPATH=str(tmp_path))
    assert "numpy 2.1.0" in line
    assert "pip install 'numpy<2'" in line


def wheel_tree(folder, python):
    """A tree laid out as the unpacked wheel, with a stub for one Python; a plain unzip loses the run bits."""
    root = folder / "pytriton" / "tritonserver"
    for name in ("bin/tritonserver", f"python_backend_stubs/{python}/{install.STUB}", "backends/python/lib.so"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"\x7fELF")
    (root / "bin" / "tritonserver").chmod(0o755)
    return root


def test_python_without_a_stub(tmp_path):
    root = wheel_tree(tmp_path, "3.8")
    with pytest.raises(ServerNotFoundError, match=rf"no stub for Python {install.PYTHON}, it has 3\.8"):
        install.find({"TRITONSERVER": str(root)})


def test_nothing_to_find(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerNotFoundError, match="no tritonserver"):
        install.find({"PATH": "/nonexistent"})


def test_lost_run_bits_are_given_back_outside_the_wheel(tmp_path):
    root = wheel_tree(tmp_path, install.PYTHON)
    found = install.find({"TRITONSERVER": str(root)})
    assert found.is_wheel
    work = tmp_path / "work"
    work.mkdir()
    _, backends = install.prepare(found, tmp_path, work)
    assert os.access(backends / "python" / install.STUB, os.X_OK)
    assert not os.access(found.stub, os.X_OK)


def test_a_servers_own_backend_wins(tmp_path):
    server = tmp_path / "opt" / "bin" / "tritonserver"
    for folder in ("opt/bin", "opt/backends/onnxruntime", "ours/onnxruntime", "ours/extra", "work"):
        (tmp_path / folder).mkdir(parents=True)
    server.write_bytes(b"\x7fELF")
    server.chmod(0o755)
    program, backends = install.prepare(
        install.find({"PATH": str(server.parent)}), tmp_path / "ours", tmp_path / "work"
    )
    assert program == server
    assert (backends / "onnxruntime").resolve() == tmp_path / "opt" / "backends" / "onnxruntime"
    assert (backends / "extra").resolve() == tmp_path / "ours" / "extra"


# ---- the log


def test_log_is_made_readable():
    reader = LogReader()
    header = "1122 06:45:26.733706 7151 model_lifecycle.cc:642]"
    shown = [
        reader.feed('W1122 06:43:31.510880 6354 cuda.cc:273] "Unable to allocate pinned system memory, ..."'),
        reader.feed(f"I{header} \"successfully loaded 'mask'\""),
        reader.feed(f'I{header} "loading: mask:1"'),
        reader.feed(
            f"E{header} \"failed to load 'bad' version 1: Internal: ValueError: no x\\nneed y\\n\\nAt:\\n  a.py(3)\\n\""
        ),
        reader.feed("+----+"),
        reader.feed("| server_version   | 2.51.0   |"),
        reader.feed("Traceback (most recent call last):"),
    ]
    assert shown == [
        None,
        "loaded mask",
        None,
        "error: failed to load 'bad' version 1: Internal: ValueError: no x need y",
        None,
        None,
        "Traceback (most recent call last):",
    ]
    assert reader.failed == {"bad": "Internal: ValueError: no x need y"}
    assert reader.version == "2.51.0"


def test_copy_of_a_repository_works_elsewhere(repository, tmp_path):
    """Nothing in a repository names the place where it was assembled."""
    moved = Path(shutil.copytree(repository, tmp_path / "moved"))
    texts = [path.read_text() for path in moved.rglob("*.pbtxt")] + [(moved / "repository.json").read_text()]
    assert not any(str(repository.parent) in text for text in texts)
