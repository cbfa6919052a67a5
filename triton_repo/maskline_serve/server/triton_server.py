"""`TritonServer`: a real server around assembled repositories, for `run`, tests, the demo and benchmarks."""

from __future__ import annotations

import dataclasses
import enum
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tritonclient import grpc as triton

from maskline_serve.errors import (
    ModelNotLoadedError,
    PortTakenError,
    ServeError,
    ServerFailedError,
    SharedMemoryRaceError,
)
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import canary, find_server, gpu
from maskline_serve.server.front_door.front_door import FrontDoor
from maskline_serve.server.live.control import ModelControl
from maskline_serve.server.live.folder import LiveFolder
from maskline_serve.server.live.leaving import leave
from maskline_serve.server.logs import tail
from maskline_serve.server.process import Ports, ServerProcess, claim_open_files, ending, listening, work_folder
from maskline_serve.server.several import load_together
from maskline_serve.server.watch.stubs import stubs

POLL_SECONDS = 0.1
CONTROL_SECONDS = 10.0  # of one word to a server that is about to stop; one that hangs is not waited for longer
LEAST_CANARY_SECONDS = 1.0  # for the next canary image, when what came before has taken the time of all
# What a lock of the Python backend's shared memory says as it takes the whole server with it, now and then, also while
# models load. Ref: https://github.com/triton-inference-server/server/issues/8882
_RACE = "boost::interprocess::lock_exception"
START_ATTEMPTS = 3  # another process may take a free port in the moment between finding and using it


class Control(enum.StrEnum):
    """Whether models of a running server may be replaced: Triton's mode of model control."""

    NONE = "none"
    EXPLICIT = "explicit"


class TritonServer:
    """A server for one repository, or several, started on entry and gone on exit.

        with TritonServer(Path("repository")) as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    On entry it waits until a canary image came back right. On exit no new request is taken. Under explicit control the
    requests in flight are answered first. Else the steps that run are finished, and a request between two steps of an
    ensemble is refused as UNAVAILABLE (release 24.10 stops all models at once), so let the clients finish first. The
    server's processes, shared memory and work files are gone afterwards, also when this process is killed.

    Attributes:
        repositories: what it was started with.
        live: the folder that it serves under explicit control, with what it serves now; None else.
        front_door: who may reach it; `front_door.headers` open what is closed to others, model control among it.
        grpc_url, http_url, metrics_url: `host:port`, set while it runs.
        pid: process id of the server's supervisor; None before the start.
        server_pid: of the server itself; None while there is none.
        canary_seconds: how long the canary image of the start took.
        processes: how many each model in Python had when it came back.
    """

    def __init__(
        self,
        *repositories: Path,
        front_door: FrontDoor | None = None,
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        timeout_s: float = 180.0,
        drain_s: int = 30,
        show: Callable[[str], None] = lambda line: None,
        verbose: bool = False,
        control: Control = Control.NONE,
        leave_s: float = 0.0,
    ) -> None:
        """Read the repositories and find the server; nothing is started yet.

        Args:
            repositories: assembled repositories of different names.
            front_door: who may reach it; None: loopback, without TLS.
            grpc_port: 0 takes a free one.
            http_port: likewise.
            metrics_port: likewise.
            timeout_s: how long start and canary may take together.
            drain_s: how long requests in flight may take when it stops.
            show: called with each log line worth reading, from another thread.
            verbose: pass every log line to `show`.
            control: explicit: its models can be replaced (`update`), and it lets requests finish when it stops.
            leave_s: under explicit control, how long it says that it is not ready before it takes no more requests.

        Raises:
            RepositoryError: not an assembled repository, or several that do not go together.
            ServerNotFoundError: no usable server on this machine.
            GpuNotFoundError: the repository is for a GPU, and this machine lacks something for it.
            CertificateError: the files of TLS are not right.
        """
        self.repositories = load_together(repositories)
        self.repository = self.repositories[0]
        self.installation = find_server.find()
        for one in self.repositories:
            gpu.check(one, self.installation)
        self._control, self._leave_s = control, leave_s
        self.live: LiveFolder | None = None
        self.front_door = front_door or FrontDoor()
        if self.front_door.tls is not None:
            self.front_door.tls.name()
        self._asked = (grpc_port, http_port, metrics_port)
        self._timeout_s, self._drain_s, self._show, self._verbose = timeout_s, drain_s, show, verbose
        self._process: ServerProcess | None = None
        self._ports = Ports(*self._asked)
        self.canary_seconds = 0.0
        self.processes: Counter[str] = Counter()

    def __enter__(self) -> TritonServer:
        """Start, wait for the canary.

        Raises:
            PortTakenError: a port that was asked for is in use.
            ModelNotLoadedError: a model of the repository does not load.
            ServerFailedError: anything else that keeps the server from serving.
        """
        try:
            if self._control is Control.EXPLICIT:
                self.live = LiveFolder(work_folder("maskline-live-"))
                self.live.fill(*self.repositories)
            for attempt in range(START_ATTEMPTS):
                try:
                    return self._start()
                except (PortTakenError, SharedMemoryRaceError) as error:
                    hopeless = isinstance(error, PortTakenError) and all(self._asked)
                    if attempt + 1 == START_ATTEMPTS or hopeless:
                        raise
        except BaseException:
            self._remove_live()
            raise
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()
        self._remove_live()

    def _remove_live(self) -> None:
        if self.live is not None:
            shutil.rmtree(self.live.folder, ignore_errors=True)
            self.live = None

    def _start(self) -> TritonServer:
        """One attempt to start."""
        claim_open_files()
        door = self.front_door
        self._ports = Ports.claim(door.host, *self._asked, door.plain_host)
        services = [*listening(door.host, self._ports, door.plain_host), *door.flags()]
        self._process = ServerProcess(
            self.installation, self.repositories, services, self._drain_s, self._show, self._verbose, self.live
        )
        try:
            self._wait_until_right(time.monotonic() + self._timeout_s)
        except BaseException:
            self.stop()
            raise
        return self

    def _wait_until_right(self, deadline: float) -> None:
        """Wait for readiness, then for the canary."""
        with self.client() as client:
            while not (self._listens() and _ready(client)):
                self.raise_if_ended()
                if time.monotonic() > deadline:
                    raise ServerFailedError(f"not ready after {self._timeout_s:.0f} s; {self._said()}")
                time.sleep(POLL_SECONDS)
            start = time.monotonic()
            self.check(client, deadline - start)
            self.canary_seconds = time.monotonic() - start
            self.processes = stubs(self.server_pid)

    def _listens(self) -> bool:
        """Whether the ports are this server's: between choosing and taking them, another may have got them."""
        return self._process is not None and set(dataclasses.astuple(self._ports)) <= self._process.log.listening

    def raise_if_ended(self) -> None:
        """Raise what ended the server, if it ended.

        Raises:
            ModelNotLoadedError, PortTakenError, ServerFailedError: as on entry.
        """
        if self._process is None:
            raise ServerFailedError("the server was not started, or was stopped")
        status = self._process.status()
        if status is None:
            return
        log = self._process.log
        if log.failed:
            # An ensemble fails because a model of it did; the model's own line is the one that helps.
            name, text = next(iter(log.failed.items()))
            raise ModelNotLoadedError(f"model {name} did not load: {text}; check with `maskline-serve doctor`")
        if log.port_taken:
            raise PortTakenError(f"port {log.port_taken} was taken while the server started; try again")
        if status < 0:
            raise ServerFailedError(
                f"the supervisor of tritonserver was killed by signal {-status}, the server with it"
            )
        said = self._said()
        kind = SharedMemoryRaceError if _RACE in said else ServerFailedError
        raise kind(f"tritonserver ended with {ending(status)}; {said}")

    def _said(self) -> str:
        """The server's last words."""
        assert self._process is not None
        return f"it last said: {self._process.log.last_error or tail(self._process.lines) or 'nothing'}"

    def stop(self, *, at_once: bool = False) -> None:
        """Stop the server if it runs; safe to call twice.

        Args:
            at_once: give requests in flight no time, of a server that hangs.
        """
        if self._process is not None:
            if at_once:
                self._process.kill()
            elif self.live is not None and self._process.is_running():
                self._leave(self.live, self._process)
            self._process.stop()
            self._process = None

    def _leave(self, live: LiveFolder, process: ServerProcess) -> None:
        """Let every request be answered, and take no more."""
        try:
            with self.client() as client:
                control = ModelControl(client, self.front_door.headers, CONTROL_SECONDS)
                late = leave(live, control, self._leave_s, self._drain_s, process.is_running)
        except ServeError as error:
            self._show(f"warning: requests in flight may be lost: {error}")
        else:
            if late:
                self._show(f"warning: after {self._drain_s} s requests are still in {', '.join(late)}, and are lost")

    def restart(self) -> None:
        """Start again after `stop`, on the ports of before.

        Raises:
            PortTakenError, ModelNotLoadedError, ServerFailedError: as on entry.
        """
        self._asked = (self._ports.grpc, self._ports.http, self._ports.metrics)
        self._start()

    def client(self) -> triton.InferenceServerClient:
        """A gRPC client of this server, to be closed by the caller."""
        return triton.InferenceServerClient(**self.front_door.client_arguments(self.grpc_url))

    def check(self, client: triton.InferenceServerClient, timeout_s: float) -> None:
        """Send a canary image to each repository's public ensemble.

        Args:
            client: of this server.
            timeout_s: deadline of all of them together; each is given LEAST_CANARY_SECONDS even so.

        Raises:
            ServerFailedError: no answer, or one that the wire contract rules out.
        """
        deadline = time.monotonic() + timeout_s
        for repository in self.served():
            canary.check(client, repository, max(LEAST_CANARY_SECONDS, deadline - time.monotonic()))

    def served(self) -> tuple[Repository, ...]:
        """What it serves now, which an update may have changed since it was started."""
        return tuple(self.live.served().values()) if self.live is not None else self.repositories

    @property
    def pid(self) -> int | None:
        """Process id of the supervisor."""
        return None if self._process is None else self._process.supervisor_pid

    @property
    def server_pid(self) -> int | None:
        """Process id of the server, whose children are the processes of models in Python."""
        return self._process.server_pid if self._process is not None else None

    @property
    def version(self) -> str:
        """The server's own version, `?` before it said so."""
        return (self._process.log.version if self._process is not None else None) or "?"

    @property
    def grpc_url(self) -> str:
        """Where gRPC listens, `host:port`."""
        return _url(self.front_door.host, self._ports.grpc)

    @property
    def http_url(self) -> str:
        """Where HTTP listens, `host:port`."""
        return _url(self.front_door.plain_host, self._ports.http)

    @property
    def metrics_url(self) -> str:
        """Where Prometheus metrics are, `host:port` (path /metrics)."""
        return _url(self.front_door.plain_host, self._ports.metrics)


def _url(host: str, port: int) -> str:
    """How to reach what listens on an address from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ready(client: triton.InferenceServerClient) -> bool:
    """Whether the server says that all models are ready."""
    try:
        return bool(client.is_server_ready(client_timeout=2.0))
    except triton.InferenceServerException:
        return False
