"""The server process: its command line, its log, and its end, through the supervisor of `supervise.py`."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from maskline_serve.errors import PortTakenError, ServerFailedError
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import find_server, in_process, several, supervise
from maskline_serve.server.live.folder import LiveFolder
from maskline_serve.server.logs import LogReader

# Each model's region starts with this much, all of it really taken, and grows to its largest batch: 80 MB of feature
# maps an 800x1344 image and edge. A larger start takes memory from the small models too and made nothing faster.
SHM_BYTES = 16 << 20
OPEN_FILES = 1024  # a server with the three ensembles has some 150 open; each connection and request takes more
DRAIN_MARGIN_SECONDS = 5  # unloading takes a few seconds after the last request is through
STOP_MARGIN_SECONDS = DRAIN_MARGIN_SECONDS + 10.0  # the supervisor's own ending: stubs, shared memory, files
SIGNALLED = 128  # what the supervisor adds to the signal that ended the server
# Where models come and go: glibc gives threads heaps of their own, and what a model that went has left in them is not
# used for the next one; and a freed tensor makes it put those of that size there too. With two heaps, tensors apart and
# what is free given back, a dozen updates under load leave no trace (docs/faults.md, Soak).
_NOTHING_KEPT = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "131072",  # bytes: where glibc begins, and stays once it is said
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_TOP_PAD_": "65536",
}
NO_SERVICES = ("--allow-grpc=false", "--allow-http=false", "--allow-metrics=false")  # for a server that only starts


def _show_nothing(line: str) -> None:
    """For a log that nobody can be shown any more."""


@dataclasses.dataclass(frozen=True)
class Ports:
    """TCP ports of the three services."""

    grpc: int
    http: int
    metrics: int

    @staticmethod
    def claim(host: str, grpc: int, http: int, metrics: int, http_host: str | None = None) -> Ports:
        """These ports, with a free one in place of each 0.

        Args:
            host: address of gRPC.
            grpc: 0 takes a free one.
            http: likewise.
            metrics: likewise.
            http_host: address of HTTP and metrics; None: that of gRPC.

        Raises:
            PortTakenError: a port that was asked for is in use; the text says which.
        """
        with contextlib.ExitStack() as stack:
            plain = http_host or host
            asked = {"gRPC": (host, grpc), "HTTP": (plain, http), "metrics": (plain, metrics)}
            return Ports(*(_bind(stack, *place, name) for name, place in asked.items()))


def _bind(stack: contextlib.ExitStack, host: str, port: int, name: str) -> int:
    """Bind a port for a moment, to learn that it is free; returns its number."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # The server sets SO_REUSEADDR too, under which a second bind succeeds where nobody listens yet.
        listener.listen(1)
    except OSError as error:
        raise PortTakenError(
            f"{name} port {port} on {host}: {os.strerror(error.errno or 0).lower()}; "
            f"stop what uses it or choose another with --{name.lower()}-port (0: any free one)"
        ) from None
    return int(listener.getsockname()[1])


def claim_open_files() -> None:
    """Make sure that the server may open the files it needs; where it may not, it speaks of ports in use.

    Raises:
        ServerFailedError: the limit is lower and may not be raised.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= OPEN_FILES:
        return
    if hard != unlimited and hard < OPEN_FILES:
        raise ServerFailedError(
            f"open files: got a limit of {hard}, expected {OPEN_FILES} or more; raise it (`ulimit -n {OPEN_FILES}`)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def listening(host: str, ports: Ports, http_host: str | None = None) -> list[str]:
    """Flags for a server that listens on these ports, HTTP and metrics on an address of their own if one is given."""
    # The server writes host:port itself for gRPC; its HTTP library has a prefix of its own for IPv6.
    grpc_address = f"[{host}]" if ":" in host else host
    plain = http_host or host
    http_address = f"ipv6:{plain}" if ":" in plain else plain
    return [
        f"--grpc-address={grpc_address}",
        f"--grpc-port={ports.grpc}",
        f"--http-address={http_address}",
        f"--http-port={ports.http}",
        f"--metrics-address={http_address}",
        f"--metrics-port={ports.metrics}",
    ]


def command(program: Path, backends: Path, models: Sequence[Path], more: Sequence[str], drain_s: int) -> list[str]:
    """The server's command line. Every flag is known to release 24.10 and later."""
    return [
        str(program),
        *(f"--model-repository={folder}" for folder in models),
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-default-byte-size={SHM_BYTES}",
        f"--backend-config=python,shm-region-prefix-name={backends.parent.name}_",
        *more,
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        "--exit-on-error=true",
        f"--exit-timeout-secs={drain_s}",
    ]


def pools(repositories: Sequence[Repository]) -> list[str]:
    """Flags for memory on each card for tensors between the steps, which overflow to the host from the usual 64 MiB."""
    return [f"--cuda-memory-pool-byte-size={card}:{size}" for card, size in several.pool_bytes(repositories).items()]


def plain_path(models: Path, folder: Path, link_name: str = "models") -> Path:
    """A path of the models folder that a shell reads as one word: the folder itself, or a link to it in `folder`.

    Triton starts each Python stub by an unquoted shell command with the model's path in it (release 24.10), so a
    folder named `my models` would never become ready.
    """
    models = models.resolve()
    if shlex.quote(str(models)) == str(models):
        return models
    link = folder / link_name
    link.symlink_to(models)
    return link


def _models(repositories: Sequence[Repository], live: LiveFolder | None, folder: Path) -> list[Path]:
    """The folders of models to serve: the live one, or the repositories' own, or an empty one inside `folder`."""
    if live is not None:
        return [live.models]
    if repositories:
        return [plain_path(one.models, folder, f"models{index}") for index, one in enumerate(repositories)]
    (folder / "models").mkdir()
    return [folder / "models"]


def _control(live: LiveFolder | None) -> list[str]:
    """Flags for explicit model control; Triton loads the steps of an ensemble with it."""
    if live is None:
        return []
    return ["--model-control-mode=explicit", *(f"--load-model={ensemble}" for ensemble in live.ensembles())]


def work_folder(prefix: str = "maskline-serve-") -> Path:
    """A new private folder. Its name, unique on this machine, prefixes the shared-memory regions too.

    It lies in $TMPDIR, or in /tmp when a shell would take that path apart (see `plain_path`).

    Raises:
        ServerFailedError: what lies there may not be executed, and the server's libraries cannot be loaded.
    """
    place = tempfile.gettempdir()
    place = place if shlex.quote(place) == place else "/tmp"
    if os.statvfs(place).f_flag & os.ST_NOEXEC:
        raise ServerFailedError(f"{place} forbids execution (mounted noexec); set TMPDIR to a folder that allows it")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=place))


def ending(status: int) -> str:
    """How the server ended, in words: its status, the signal behind it, a limit that may be the reason."""
    said = f"status {status}"
    if status > SIGNALLED:
        with contextlib.suppress(ValueError):
            said += f" ({signal.Signals(status - SIGNALLED).name})"
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        said += f", under a limit of {limit >> 20} MiB of address space (`ulimit -v`)"
    return said


class ServerProcess:
    """A running tritonserver under its supervisor.

    Attributes:
        log: what the log said so far.
        lines: the last lines of the raw log.
    """

    def __init__(
        self,
        installation: find_server.Installation,
        repositories: Sequence[Repository],
        services: Sequence[str],
        drain_s: int,
        show: Callable[[str], None],
        verbose: bool,
        live: LiveFolder | None = None,
    ) -> None:
        """Start it.

        Args:
            installation: the server to start.
            repositories: what it serves; none for no models at all.
            services: flags of `listening`, or NO_SERVICES.
            drain_s: how long requests in flight may take when it stops.
            show: called with each log line worth reading, from another thread.
            verbose: pass every log line to `show`.
            live: the folder that it serves under explicit model control; None: the repositories as they lie.
        """
        self.log = LogReader()
        self.lines: collections.deque[str] = collections.deque(maxlen=200)
        self._show, self._verbose, self._drain_s = show, verbose, drain_s
        self._folder = folder = work_folder()
        try:
            self._process = self._start(installation, repositories, services, folder, live)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)  # later on the supervisor does this
            raise
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _start(
        self,
        installation: find_server.Installation,
        repositories: Sequence[Repository],
        services: Sequence[str],
        folder: Path,
        live: LiveFolder | None,
    ) -> subprocess.Popen[str]:
        """Start the supervisor, which starts the server."""
        own_backends = repositories[0].backends if repositories else None  # those of all are the same
        program, backends = find_server.prepare(installation, own_backends, folder)
        supervisor = [sys.executable, "-I", "-S", str(Path(__file__).with_name("supervise.py"))]
        models = _models(repositories, live, folder)
        more = in_process.flags(backends, models) + pools(repositories) + _control(live)
        own = [str(folder), f"{folder.name}_", str(os.getpid()), str(self._drain_s + DRAIN_MARGIN_SECONDS)]
        own += [*([str(live.folder)] if live is not None else []), "--"]
        return subprocess.Popen(
            supervisor + own + command(program, backends, models, (*services, *more), self._drain_s),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=({} if live is None else _NOTHING_KEPT) | find_server.environment(installation),
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
        )

    def _read(self, stream: IO[str]) -> None:
        """Take in the log until it ends; runs in a thread of its own."""
        for line in stream:
            self.lines.append(line.rstrip("\n"))
            shown = self.log.feed(self.lines[-1])
            text = self.lines[-1] if self._verbose else shown
            if text is None:
                continue
            try:
                self._show(text)
            except Exception:
                # A terminal or pipe that went away. Reading goes on: the server would block on a full pipe.
                self._show = _show_nothing

    @property
    def supervisor_pid(self) -> int:
        """Process id of the supervisor, whose only child is the server."""
        return self._process.pid

    @property
    def server_pid(self) -> int | None:
        """Process id of the server itself; None before the supervisor has started it, and after its end."""
        return next(iter(supervise.children(self._process.pid)), None)

    def status(self) -> int | None:
        """None while it runs, else its exit status."""
        status = self._process.poll()
        if status is not None:
            self._reader.join(timeout=5)
        return status

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End the server without a word, as `stop` cannot where it hangs; `stop` then clears up."""
        server = self.server_pid
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)

    def stop(self) -> int:
        """Let the server finish its requests, end it and wait until nothing of it is left; returns its status.

        Safe to call twice.
        """
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(self._drain_s + STOP_MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)  # the server dies with it
        status = self._process.wait()
        if status < 0:  # the supervisor was killed: what it would have removed
            supervise.kill_stubs(self._folder)
            supervise.remove(self._folder, f"{self._folder.name}_")
        self._reader.join(timeout=5)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status
