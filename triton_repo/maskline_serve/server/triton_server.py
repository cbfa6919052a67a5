"""`TritonServer`: a real server around an assembled repository, for `run`, tests, the demo and benchmarks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tritonclient import grpc as triton

from maskline_serve.errors import ModelNotLoadedError, PortTakenError, ServerFailedError
from maskline_serve.repository.on_disk import Repository
from maskline_serve.server import canary, find_server, gpu
from maskline_serve.server.logs import tail
from maskline_serve.server.process import Ports, ServerProcess, claim_open_files, ending, listening
from maskline_serve.server.watch.stubs import stubs

POLL_SECONDS = 0.1
# No proxy stands between us and a server on this machine, whatever the environment says. tritonclient drops its own
# limits of message sizes when it is given any option: they are none here too.
CHANNEL = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
PORT_ATTEMPTS = 3  # another process may take a free port in the moment between finding and using it


class TritonServer:
    """A server for one repository, started on entry and gone on exit.

        with TritonServer(Path("repository")) as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)

    On entry it waits until a canary image came back right. On exit no new request is taken and the steps that run are
    finished; a request between two steps of an ensemble is refused as UNAVAILABLE (release 24.10 stops all models at
    once), so let the clients finish first. The server's processes, shared memory and work files are gone afterwards,
    also when this process is killed.

    Attributes:
        grpc_url, http_url, metrics_url: `host:port`, set while it runs.
        pid: process id of the server's supervisor; None before the start.
        server_pid: of the server itself; None while there is none.
        canary_seconds: how long the canary image of the start took.
        processes: how many each model in Python had when it came back.
    """

    def __init__(
        self,
        repository: Path,
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        timeout_s: float = 180.0,
        drain_s: int = 30,
        show: Callable[[str], None] = lambda line: None,
        verbose: bool = False,
    ) -> None:
        """Read the repository and find the server; nothing is started yet.

        Args:
            repository: an assembled repository.
            host: address to listen on.
            grpc_port: 0 takes a free one.
            http_port: likewise.
            metrics_port: likewise.
            timeout_s: how long start and canary may take together.
            drain_s: how long requests in flight may take when it stops.
            show: called with each log line worth reading, from another thread.
            verbose: pass every log line to `show`.

        Raises:
            RepositoryError: not an assembled repository.
            ServerNotFoundError: no usable server on this machine.
            GpuNotFoundError: the repository is for a GPU, and this machine lacks something for it.
        """
        self.repository = Repository.load(repository)
        self.installation = find_server.find()
        gpu.check(self.repository, self.installation)
        self._host, self._asked = host, (grpc_port, http_port, metrics_port)
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
        for attempt in range(PORT_ATTEMPTS):
            try:
                return self._start()
            except PortTakenError:
                if attempt + 1 == PORT_ATTEMPTS or all(self._asked):
                    raise
        raise AssertionError("unreachable")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    def _start(self) -> TritonServer:
        """One attempt to start."""
        claim_open_files()
        self._ports = Ports.claim(self._host, *self._asked)
        services = listening(self._host, self._ports)
        self._process = ServerProcess(
            self.installation, self.repository, services, self._drain_s, self._show, self._verbose
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
            while not _ready(client):
                self.raise_if_ended()
                if time.monotonic() > deadline:
                    raise ServerFailedError(f"not ready after {self._timeout_s:.0f} s; {self._said()}")
                time.sleep(POLL_SECONDS)
            start = time.monotonic()
            self.check(client, max(1.0, deadline - start))
            self.canary_seconds = time.monotonic() - start
            self.processes = stubs(self.server_pid)

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
            raise PortTakenError(f"port {log.port_taken} on {self._host} was taken while the server started; try again")
        if status < 0:
            raise ServerFailedError(
                f"the supervisor of tritonserver was killed by signal {-status}, the server with it"
            )
        raise ServerFailedError(f"tritonserver ended with {ending(status)}; {self._said()}")

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
            self._process.stop()
            self._process = None

    def restart(self) -> None:
        """Start again after `stop`, on the ports of before.

        Raises:
            PortTakenError, ModelNotLoadedError, ServerFailedError: as on entry.
        """
        self._asked = (self._ports.grpc, self._ports.http, self._ports.metrics)
        self._start()

    def client(self) -> triton.InferenceServerClient:
        """A gRPC client of this server, to be closed by the caller."""
        return triton.InferenceServerClient(self.grpc_url, channel_args=CHANNEL)

    def check(self, client: triton.InferenceServerClient, timeout_s: float) -> None:
        """Send a canary image to each repository that is served.

        Args:
            client: of this server.
            timeout_s: deadline of each call.

        Raises:
            ServerFailedError: no answer, or one that the wire contract rules out.
        """
        for repository in self.served():
            canary.check(client, repository, timeout_s)

    def served(self) -> tuple[Repository, ...]:
        """The repositories that it serves now."""
        return (self.repository,)

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
        return self._url(self._ports.grpc)

    @property
    def http_url(self) -> str:
        """Where HTTP listens, `host:port`."""
        return self._url(self._ports.http)

    @property
    def metrics_url(self) -> str:
        """Where Prometheus metrics are, `host:port` (path /metrics)."""
        return self._url(self._ports.metrics)

    def _url(self, port: int) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _ready(client: triton.InferenceServerClient) -> bool:
    """Whether the server says that all models are ready."""
    try:
        return bool(client.is_server_ready(client_timeout=2.0))
    except triton.InferenceServerException:
        return False
