"""What is said when something is missing or wrong before a server runs: one line each. And its log made readable."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from maskline_serve.doctor import Level, examine
from maskline_serve.errors import RepositoryError, ServerNotFoundError, SharedMemoryRaceError
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import find_server
from maskline_serve.server.logs import LogReader
from maskline_serve.server.process import NO_SERVICES, ServerProcess
from maskline_serve.server.triton_server import TritonServer
from serve.test_server import COMMAND, START_S, wait_until

pytestmark = pytest.mark.triton


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


def script(folder, text):
    """A program that can be started in place of tritonserver."""
    program = folder / "bin" / "tritonserver"
    program.parent.mkdir()
    program.write_text(text)
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\n", "it last said: nothing"),
        ("#!/bin/sh\necho no such library >&2; exit 1\n", "it last said: no such library"),
        ("neither a script nor a program", "tritonserver: Exec format error"),
    ],
)
def test_doctor_survives_a_program_that_is_no_server(repository, tmp_path, monkeypatch, text, said):
    monkeypatch.setenv("TRITONSERVER", script(tmp_path, text))
    (finding,) = (found for found in examine(repository) if found.level is Level.ERROR)
    assert finding.check == "server"
    assert said in finding.detail


def test_what_the_system_refuses_is_one_line(artifact, tmp_path):
    (tmp_path / "file").write_text("")
    assert "file exists" in fails(["assemble", artifact, tmp_path / "file" / "repository"])


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
    for name in ("bin/tritonserver", f"python_backend_stubs/{python}/{find_server.STUB}", "backends/python/lib.so"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"\x7fELF")
    (root / "bin" / "tritonserver").chmod(0o755)
    return root


def test_python_without_a_stub(tmp_path):
    root = wheel_tree(tmp_path, "3.8")
    with pytest.raises(ServerNotFoundError, match=rf"no stub for Python {find_server.PYTHON}, it has 3\.8"):
        find_server.find({"TRITONSERVER": str(root)})


def test_nothing_to_find(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerNotFoundError, match="no tritonserver"):
        find_server.find({"PATH": "/nonexistent"})


def test_lost_run_bits_are_given_back_outside_the_wheel(tmp_path):
    root = wheel_tree(tmp_path, find_server.PYTHON)
    found = find_server.find({"TRITONSERVER": str(root)})
    assert found.is_wheel
    work = tmp_path / "work"
    work.mkdir()
    _, backends = find_server.prepare(found, tmp_path, work)
    assert os.access(backends / "python" / find_server.STUB, os.X_OK)
    assert not os.access(found.stub, os.X_OK)


def test_a_servers_own_backend_wins(tmp_path):
    server = tmp_path / "opt" / "bin" / "tritonserver"
    for folder in ("opt/bin", "opt/backends/onnxruntime", "ours/onnxruntime", "ours/extra", "work"):
        (tmp_path / folder).mkdir(parents=True)
    server.write_bytes(b"\x7fELF")
    server.chmod(0o755)
    program, backends = find_server.prepare(
        find_server.find({"PATH": str(server.parent)}), tmp_path / "ours", tmp_path / "work"
    )
    assert program == server
    assert (backends / "onnxruntime").resolve() == tmp_path / "opt" / "backends" / "onnxruntime"
    assert (backends / "extra").resolve() == tmp_path / "ours" / "extra"


# ---- the log


def test_a_reader_of_the_log_that_went_away_does_not_block_the_server(repository, tmp_path):
    """1 MB of log, far more than a pipe holds, behind a `show` that fails as a closed terminal does."""
    installation = find_server.find({"TRITONSERVER": script(tmp_path, "#!/bin/sh\nyes some words | head -c 1000000\n")})

    def closed(line):
        raise BrokenPipeError

    process = ServerProcess(installation, [Repository.load(repository)], NO_SERVICES, 1, closed, True)
    wait_until(lambda: process.status() is not None, START_S, "writing the log")
    assert process.stop() == 0
    assert len(process.lines) == 200


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


@pytest.mark.triton
@pytest.mark.parametrize("times", [1, 3])
def test_a_start_that_meets_the_backends_race_is_tried_again(repository, tmp_path, times):
    """The server itself, behind a program that dies at first as the server does then."""
    server = TritonServer(repository)
    real = server.installation.program
    dying = (
        "echo \"terminate called after throwing an instance of 'boost::interprocess::lock_exception'\" >&2\n"
        "echo '  what():  boost::interprocess::lock_exception' >&2\nkill -ABRT $$\n"
    )
    count = f"echo x >> {tmp_path}/starts\n[ $(wc -l < {tmp_path}/starts) -gt {times} ]"
    text = f'#!/bin/sh\n{count} && exec {real} "$@"\n{dying}'
    server.installation = dataclasses.replace(server.installation, program=Path(script(tmp_path, text)))
    if times == 3:
        with pytest.raises(SharedMemoryRaceError, match="lock_exception"):
            server.__enter__()
    else:
        with server:
            assert server.processes
    assert (tmp_path / "starts").read_text() == "x\n" * (times + 1 if times < 3 else 3)
