"""What a benchmark found, and its files: results.json (every latency) and results.csv (as perf_analyzer's)."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

from maskline_client.bench.machine import ProcessMemory
from maskline_client.bench.settings import Memory, Scenario
from maskline_client.bench.statistics import Latency, StepTimes, summarize
from maskline_client.files import write_text

FORMAT = "maskline-bench/1"
# perf_analyzer's own header, word for word, so that what reads its files reads ours; times in microseconds.
CSV_HEADER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency"
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the client saw of one run.

    Attributes:
        latencies_ms: of each answered request, in the order of completion.
        wall_s: from the first request to the last answer.
        errors: how often each error came.
        send_us: mean microseconds of building a request.
        receive_us: mean microseconds of reading an answer.
        detections: objects found in each answer.
    """

    latencies_ms: tuple[float, ...]
    wall_s: float
    errors: dict[str, int]
    send_us: float
    receive_us: float
    detections: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Run:
    """One timed run: a level of the closed loop or a scenario of LoadGen.

    Attributes:
        scenario: how load was made.
        concurrency: requests in flight at most; 0 where they are not bounded (server).
        measured: the client's view.
        steps: the server's view, a model each.
        loadgen: LoadGen's own verdict and figures; None for the closed loop.
        memory: the way of a canvas to the server.
    """

    scenario: Scenario
    concurrency: int
    measured: Measured
    steps: tuple[StepTimes, ...]
    loadgen: dict[str, Any] | None = None
    memory: Memory = Memory.PLAIN

    @property
    def num_errors(self) -> int:
        """Failed requests."""
        return sum(self.measured.errors.values())

    @property
    def void(self) -> str:
        """Why the figures of this run must not be used; empty when they may."""
        if self.num_errors:
            total = self.num_errors + len(self.measured.latencies_ms)
            return f"{self.num_errors} of {total} requests failed"
        return "" if self.measured.latencies_ms else "no request was answered"

    @property
    def label(self) -> str:
        """A short name for tables and plots."""
        name = f"{self.scenario} {self.concurrency}" if self.concurrency else self.scenario
        return name if self.memory is Memory.PLAIN else f"{name}, {self.memory}"

    @property
    def latency(self) -> Latency:
        """Summary of the latencies.

        Raises:
            ValueError: nothing was answered.
        """
        return summarize(self.measured.latencies_ms)

    @property
    def images_per_second(self) -> float:
        """Answered images a second of wall time."""
        return len(self.measured.latencies_ms) / self.measured.wall_s if self.measured.wall_s else 0.0

    @property
    def mean_detections(self) -> float:
        """Objects an image, over the answers."""
        found = self.measured.detections
        return sum(found) / len(found) if found else 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: figures first, then every latency; a void run carries no summary."""
        summary: dict[str, Any] = {"void": self.void}
        if not self.void:
            summary["images_per_second"] = self.images_per_second
            summary["latency"] = dataclasses.asdict(self.latency)
        return {
            "scenario": str(self.scenario),
            "concurrency": self.concurrency,
            "memory": str(self.memory),
            **summary,
            "mean_detections": self.mean_detections,
            "errors": self.measured.errors,
            "steps": [dataclasses.asdict(step) for step in self.steps],
            "loadgen": self.loadgen,
            "wall_s": self.measured.wall_s,
            "client_send_us": self.measured.send_us,
            "client_receive_us": self.measured.receive_us,
            "latencies_ms": list(self.measured.latencies_ms),
        }


@dataclasses.dataclass(frozen=True)
class BenchResults:
    """A whole benchmark.

    Attributes:
        when: UTC time of the start, ISO 8601.
        settings: what was asked for.
        machine: of the client.
        versions: of the client's parts and of the server.
        images: count and sizes.
        gate: what the check before the timing compared, and its outcome.
        runs: in the order they ran.
        server_processes: peak memory after the last run; empty when the server is not local.
    """

    when: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    images: dict[str, Any]
    gate: dict[str, Any]
    runs: tuple[Run, ...]
    server_processes: tuple[ProcessMemory, ...]

    @property
    def voids(self) -> tuple[str, ...]:
        """One line for each run that must not be used."""
        return tuple(f"{run.label}: {run.void}" for run in self.runs if run.void)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with a `format` entry."""
        return {
            "format": FORMAT,
            "when": self.when,
            "settings": self.settings,
            "machine": self.machine,
            "versions": self.versions,
            "images": self.images,
            "gate": self.gate,
            "runs": [run.to_dict() for run in self.runs],
            "server_processes": [dataclasses.asdict(process) for process in self.server_processes],
        }


def write_json(path: Path, results: BenchResults) -> None:
    """Write results.json."""
    write_text(path, json.dumps(results.to_dict(), indent=1) + "\n")


def write_csv(path: Path, results: BenchResults) -> None:
    """Write results.csv: one row a level of the closed loop; void runs have none."""
    write_text(path, to_csv(results))


def to_csv(results: BenchResults) -> str:
    """The text of results.csv, rows in the order of concurrency; its columns know no shared memory."""
    stream = io.StringIO()
    stream.write(CSV_HEADER + "\n")
    writer = csv.writer(stream, lineterminator="\n")
    levels = [
        run
        for run in results.runs
        if run.scenario is Scenario.CLOSED_LOOP and run.memory is Memory.PLAIN and not run.void
    ]
    for run in sorted(levels, key=lambda run: run.concurrency):
        writer.writerow(_csv_row(run))
    return stream.getvalue()


def _csv_row(run: Run) -> list[str]:
    """One row of CSV_HEADER; server times are the sums over the ensemble's steps."""
    latency, measured = run.latency, run.measured
    queue = sum(step.queue_us for step in run.steps)
    compute_input = sum(step.compute_input_us for step in run.steps)
    compute_infer = sum(step.compute_infer_us for step in run.steps)
    compute_output = sum(step.compute_output_us for step in run.steps)
    server = queue + compute_input + compute_infer + compute_output
    # What is neither client nor step: network, scheduling between steps. Means of two clocks are subtracted, so
    # the difference is kept from falling below 0, as perf_analyzer does.
    network = max(0.0, latency.mean_ms * 1e3 - measured.send_us - measured.receive_us - server)
    times_us = [
        measured.send_us,
        network,
        queue,
        compute_input,
        compute_infer,
        compute_output,
        measured.receive_us,
    ]
    percentiles_us = [value * 1e3 for value in (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms)]
    return [
        str(run.concurrency),
        f"{run.images_per_second:.6g}",
        *(str(round(value)) for value in (*times_us, *percentiles_us)),
    ]
