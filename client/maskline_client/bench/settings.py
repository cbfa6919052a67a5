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


@dataclasses.dataclass(frozen=True)
class BenchSettings:
    """What to measure.

    Attributes:
        url: host:port of the server's gRPC endpoint.
        model: the ensemble to call: maskrcnn or maskrcnn_raw.
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
    scenarios: tuple[Scenario, ...] = (Scenario.CLOSED_LOOP,)
    concurrency: tuple[int, ...] = (1, 2, 4)
    requests: int | None = None
    seconds: float = 10.0
    warmup: int = 5
    target_qps: float = 2.0
    latency_bound_ms: float = 5000.0
    in_flight: int = 8
    timeout_s: float = 60.0
