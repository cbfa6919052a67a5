"""The README keeps its promises: its commands run as written, its files are there, its Python runs."""

import importlib.metadata
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.export.kept_traces import kept_traces
from support.processes.in_process import call

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
# What makes a command finish in seconds; the words of the README stay.
SHORTER = {
    "maskline-train data digits": "--train-images 12 --val-images 4",
    "maskline-train fit": "--steps 2 --total-batch 2",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_every_file_that_the_readme_names_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_every_make_target_that_the_readme_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"(?:`|^)make ([a-z-]+)", README, flags=re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def as_process(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """As a user's shell runs it."""
    result = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"


def where_torch_is(words: list[str], folder: Path, environment: dict[str, str]) -> None:
    """The same, but for the commands with torch, whose scripts run in this process: it takes seconds to start."""
    if words[0] not in ("maskline-train", "maskline-export"):
        as_process(words, folder, environment)
        return
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=words[0])
    with pytest.MonkeyPatch.context() as patch, kept_traces():
        patch.chdir(folder)
        patch.setenv("COLUMNS", environment["COLUMNS"])
        assert call(script.load(), *words[1:]) == 0, words


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("run", [where_torch_is, pytest.param(as_process, marks=pytest.mark.long)])
def test_the_seven_commands_and_the_python_run_as_written(
    run: Callable[[list[str], Path, dict[str, str]], None], tmp_path: Path
) -> None:
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    commands = blocks("bash")[0].strip().splitlines()
    assert len(commands) == 7
    port = free_port()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "COLUMNS": "200"}
    extra = {
        **SHORTER,
        "maskline-serve run": f"--grpc-port {port} --http-port 0 --metrics-port 0",
        "maskline-client detect": f"--url 127.0.0.1:{port} --score-thresh 0",
    }
    server: subprocess.Popen[str] | None = None
    try:
        for command in commands:
            words = shlex.split(command)
            more = next((text for start, text in extra.items() if command.startswith(start)), "")
            words += shlex.split(more)
            if command.startswith("maskline-serve run"):
                server = subprocess.Popen(
                    words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
                wait_for_ready(server)
                continue
            run(words, tmp_path, environment)
        assert len(list((tmp_path / "detections").glob("*.png"))) == len(
            list((tmp_path / "data/digits/scenes").iterdir())
        )
        run_python(tmp_path, environment, port)
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            assert server.wait(60) in (0, 130)


def wait_for_ready(server: "subprocess.Popen[str]") -> None:
    """Read the log until the server says that it serves; fails when the log ends first."""
    assert server.stdout is not None
    seen = []
    for line in server.stdout:
        seen.append(line)
        if "Ctrl-C" in line:
            return
    pytest.fail("maskline-serve run ended:\n" + "".join(seen))


def run_python(folder: Path, environment: dict[str, str], port: int) -> None:
    """The README's Python, with its picture and its address replaced by ours."""
    code = blocks("python")[0].replace("127.0.0.1:8001", f"127.0.0.1:{port}")
    code = code.replace("street.jpg", "data/digits/scenes/coffee.jpg") + "\nprint(masks.shape)\n"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "480, 640)" in result.stdout
