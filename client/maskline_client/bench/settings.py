"""What a benchmark is asked to do. Needs no package of the `bench` extra, so that every client can show the help."""

from __future__ import annotations

import dataclasses
import enum


class Scenario(enum.StrEnum):
    """How load is made; the values are what the command line and the results say."""

    CLOSED_LOOP = "closed-loop"
    SINGLE_STREAM = "single-stream"
    SERVER = "server"
    OFFLINE = "offline"


class Memory(enum.StrEnum):
    """How a canvas gets to the server: in the message, or through memory that both see."""

    PLAIN = "plain"
    SYSTEM = "system"
    CUDA = "cuda"


@dataclasses.dataclass(frozen=True)
class BenchSettings:
    """What to measure.

    Attributes:
        url: host:port of the server's gRPC endpoint.
        model: the ensemble to call: maskrcnn, maskrcnn_raw or maskrcnn_engines.
        memory: ways of a canvas, of maskrcnn_engines, each measured by the closed loop.
        scenarios: what to run, in this order.
        concurrency: levels of the closed loop.
        requests: of each level of the closed loop, and fewest of a LoadGen scenario; None when `seconds` decides.
        seconds: of each level of the closed loop, and shortest duration of a LoadGen scenario.
        warmup: untimed requests before each run.
        target_qps: arrivals a second (server), expected images a second (offline: sizes its query).
        latency_bound_ms: what 99 % of the server scenario's requests must meet for LoadGen's verdict.
        in_flight: requests in flight at most in the offline scenario.
        timeout_s: deadline of each request.
    """

    url: str
    model: str = "maskrcnn"
    memory: tuple[Memory, ...] = (Memory.PLAIN,)
    scenarios: tuple[Scenario, ...] = (Scenario.CLOSED_LOOP,)
    concurrency: tuple[int, ...] = (1, 2, 4)
    requests: int | None = None
    seconds: float = 10.0
    warmup: int = 5
    target_qps: float = 2.0
    latency_bound_ms: float = 5000.0
    in_flight: int = 8
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        engines = self.model == "maskrcnn_engines"
        if not engines and self.memory != (Memory.PLAIN,):
            raise ValueError(
                f"--memory: got {', '.join(self.memory)} for {self.model}, expected --model maskrcnn_engines"
            )
        if engines and self.scenarios != (Scenario.CLOSED_LOOP,):
            raise ValueError(
                f"--scenario: got {', '.join(self.scenarios)}, expected closed-loop alone for {self.model}"
            )
