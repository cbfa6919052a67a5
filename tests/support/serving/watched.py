"""`maskline-serve run` as a process with its ports known: what tests and the fault campaign hurt."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from maskline_serve.server.front_door.restricted import grpc_headers
from maskline_serve.server.supervise import children
from serve import standin
from serve.conftest import send
from serve.test_server import COMMAND, STOP_S, processes_of, work_folder
from tritonclient import grpc as triton

QUICK = ("--canary-s", "0.5", "--canary-deadline-s", "20", "--drain-s", "2")
PORTS = ("--grpc-port", "0", "--http-port", "0", "--metrics-port", "0", "--health-port", "0")


class Watched:
    """A `run` that serves; `end` must be called.

    Args:
        repository: to serve.
        arguments: further words of `run`; the last one of an option counts.
        wrapper: a command in front, which must become `run` by exec.
        environ: its environment; None for that of this process.

    Attributes:
        process: of `run`.
        text: what it announced.
        grpc, http, health_url: host:port.
        err: the last lines of its stderr.
    """

    def __init__(
        self,
        repository: Path,
        arguments: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        self.repository = repository
        self.process = subprocess.Popen(
            [*wrapper, *COMMAND, "run", str(repository), *PORTS, *QUICK, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        self.err: deque[str] = deque(maxlen=500)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        self.text = "".join(lines)
        if "Ctrl-C" not in self.text:
            self.process.wait(STOP_S)
            self._reader.join(STOP_S)
            raise AssertionError(f"run did not serve: {self.said()}")
        self.grpc = re.search(r"gRPC +(\S+)", self.text)[1]
        self.http = re.search(r"HTTP +(\S+)", self.text)[1]
        self.health_url = re.search(r"health +(\S+)/health", self.text)[1]
        self.work_folder = work_folder(self.supervisor)

    def _read(self) -> None:
        for line in self.process.stderr:
            self.err.append(line.rstrip("\n"))

    def said(self) -> str:
        """What it said at last: its own line, after the log."""
        lines = [line for line in self.err if not line.startswith("triton |")]
        return " / ".join(lines[-2:])

    @property
    def supervisor(self) -> int:
        """Process id of `supervise.py`."""
        return next(pid for pid in children(self.process.pid) if b"supervise.py" in cmdline(pid))

    @property
    def server(self) -> int:
        """Process id of tritonserver."""
        return children(self.supervisor)[0]

    def stub(self, word: str) -> int:
        """Process id of the model whose name is the word, or begins with it and a revision."""
        models = self.repository.resolve() / "models"
        names = [path.name for path in models.iterdir() if path.name == word or path.name.rpartition("-")[0] == word]
        (pid,) = (pid for name in names for pid in processes_of(f"{name}/1/model.py") if pid in children(self.server))
        return pid

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of the health port."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.health_url}{path}", timeout=STOP_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self) -> dict:
        """`/health`."""
        return json.loads(self.get("/health")[1])

    def answers(self) -> bool:
        """Whether it finds three objects where there are three."""
        with triton.InferenceServerClient(self.grpc) as client:
            return send(client, [standin.picture(3)])["num_detections"].item() == 3

    def stop(self, seconds: float = STOP_S) -> int:
        """SIGTERM; returns the status."""
        self.process.terminate()
        status = self.process.wait(seconds)
        self._reader.join(STOP_S)
        return status

    def end(self) -> None:
        """Kill what is left."""
        self.process.kill()
        self.process.wait()
        self._reader.join(STOP_S)


def cmdline(pid: int) -> bytes:
    """A process's words; nothing of one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def headers(server: int) -> dict[str, str]:
    """What opens every call of a server, of its process id."""
    (text,) = (word for word in cmdline(server).decode().split("\0") if word.startswith("--grpc-restricted-protocol="))
    return grpc_headers(text.rpartition("=")[2])


def own_line(err: Sequence[str]) -> str:
    """The one line with which a command of ours failed."""
    (line,) = (line for line in err if line.startswith("maskline-serve:"))
    return line
