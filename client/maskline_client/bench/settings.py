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


class Ensemble(enum.StrEnum):
    """Which of a model's ensembles is called."""

    FULL = "full"
    RAW = "raw"
    ENGINES = "engines"
    BOXES = "boxes"


class Memory(enum.StrEnum):
    """How a canvas gets to the server: in the message, or through memory that both see."""

    PLAIN = "plain"
    SYSTEM = "system"
    CUDA = "cuda"


def ensemble_name(model: str, ensemble: Ensemble | None) -> str:
    """The name of the ensemble to call.

    Args:
        model: a model's name, or, where `ensemble` is None, that of one of its ensembles.
        ensemble: which of them.

    Raises:
        ValueError: the model's name is that of an ensemble already.
    """
    kind = next((kind for kind in Ensemble if model.endswith(f"_{kind}")), None)
    if kind is not None and ensemble not in (None, kind):
        raise ValueError(f"--ensemble: got {ensemble} with --model {model}, expected --model {model[: -len(kind) - 1]}")
    return model if kind is not None or ensemble in (None, Ensemble.FULL) else f"{model}_{ensemble}"


@dataclasses.dataclass(frozen=True)
class BenchSettings:
    """What to measure.

    Attributes:
        url: host:port of the server's gRPC endpoint.
        model: the ensemble to call: maskrcnn, maskrcnn_raw, nuclei_engines and so on.
        memory: ways of a canvas, of an ensemble of engines, each measured by the closed loop.
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

    @property
    def takes_canvases(self) -> bool:
        """Whether the ensemble takes canvases in place of images."""
        return self.model.endswith(f"_{Ensemble.ENGINES}")

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        engines = self.takes_canvases
        if not engines and self.memory != (Memory.PLAIN,):
            raise ValueError(f"--memory: got {', '.join(self.memory)} for {self.model}, expected --ensemble engines")
        if engines and self.scenarios != (Scenario.CLOSED_LOOP,):
            raise ValueError(
                f"--scenario: got {', '.join(self.scenarios)}, expected closed-loop alone for {self.model}"
            )
