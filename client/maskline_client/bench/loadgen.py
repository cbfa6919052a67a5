"""MLPerf LoadGen drives the server: SingleStream, Server (open-loop Poisson arrivals) and Offline.

LoadGen calls `issue` with sample ids and is told of each completion; it sees neither answers nor errors and
calls a run valid in which every request failed. So the adapter counts errors, and one error voids the run.

Latencies are LoadGen's own: in the Server scenario they count from the time a request was scheduled, so a
client that falls behind shows as latency instead of vanishing (no coordinated omission).

Ref: https://github.com/mlcommons/inference/tree/master/loadgen
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import mlperf_loadgen

from maskline_client.bench.calls import connect, error_text, make_request, read_answer
from maskline_client.bench.images import BenchImage
from maskline_client.bench.results import Measured
from maskline_client.bench.settings import BenchSettings, Scenario

SERVER_PERCENTILE = 0.99  # MLPerf's rule for object detection: 99 % of the queries within the latency bound


_LOADGEN_SCENARIOS = {
    Scenario.SINGLE_STREAM: mlperf_loadgen.TestScenario.SingleStream,
    Scenario.SERVER: mlperf_loadgen.TestScenario.Server,
    Scenario.OFFLINE: mlperf_loadgen.TestScenario.Offline,
}


class System:
    """The system under test as LoadGen sees it: sends samples, reports completions, counts errors."""

    def __init__(
        self, settings: BenchSettings, images: tuple[BenchImage, ...], *, in_flight: int | None = None
    ) -> None:
        self._client = connect(settings.url, settings.timeout_s)
        self._model = settings.model
        self._images = images
        self._timeout_s = settings.timeout_s
        self._slots = None if in_flight is None else threading.Semaphore(in_flight)
        self._lock = threading.Lock()
        self.errors: Counter[str] = Counter()
        self.detections: list[int] = []
        self.send_us: list[float] = []
        self.receive_us: list[float] = []
        self.first_issue = 0.0  # of time.perf_counter
        self.last_answer = 0.0

    def issue(self, samples: list[Any]) -> None:
        """Send samples without waiting for answers; where in-flight is bounded, wait for a free slot.

        LoadGen calls this from C++, where an exception ends the process: so nothing is raised and every
        failure is counted.
        """
        self.first_issue = self.first_issue or time.perf_counter()
        for sample in samples:
            sample_id, index = sample.id, sample.index
            if self._slots is not None:
                self._slots.acquire()
            try:
                start = time.perf_counter_ns()
                inputs = make_request(self._images[index])
                self.send_us.append((time.perf_counter_ns() - start) / 1e3)
                self._client.async_infer(
                    self._model,
                    inputs,
                    functools.partial(self._completed, sample_id),
                    client_timeout=self._timeout_s,
                )
            except Exception as error:
                self._finish(sample_id, f"{type(error).__name__}: {error}")

    def _completed(self, sample_id: int, result: Any, error: Any) -> None:
        """The callback of one request, on a thread of gRPC's."""
        if error is not None:
            self._finish(sample_id, error_text(error))
            return
        try:
            start = time.perf_counter_ns()
            answer = read_answer(result)
            receive_us = (time.perf_counter_ns() - start) / 1e3
        except Exception as broken:
            self._finish(sample_id, f"answer not readable: {type(broken).__name__}: {broken}")
            return
        with self._lock:
            self.detections.append(answer.num_detections)
            self.receive_us.append(receive_us)
        self._finish(sample_id, "")

    def _finish(self, sample_id: int, error: str) -> None:
        """Count, free the slot, tell LoadGen; failed samples are completed too, or LoadGen would wait forever."""
        with self._lock:
            if error:
                self.errors[error] += 1
            self.last_answer = time.perf_counter()
        if self._slots is not None:
            self._slots.release()
        mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(sample_id, 0, 0)])

    def flush(self) -> None:
        """LoadGen has issued its last sample; nothing is held back here."""

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def run_loadgen(
    settings: BenchSettings, scenario: Scenario, images: tuple[BenchImage, ...], log_dir: Path
) -> tuple[Measured, dict[str, Any]]:
    """Run one scenario; LoadGen's own log files stay in `log_dir`.

    Args:
        settings: server, model, duration and bench.
        scenario: one of LoadGen's three.
        images: LoadGen's sample library; it chooses from them with its fixed seed.
        log_dir: created when missing.

    Returns:
        The client's view, and LoadGen's verdict and figures (see `read_log`).
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    prefix = f"{scenario}_"
    system = System(settings, images, in_flight=settings.in_flight if scenario is Scenario.OFFLINE else None)
    sut = mlperf_loadgen.ConstructSUT(system.issue, system.flush)
    library = mlperf_loadgen.ConstructQSL(len(images), len(images), _already_loaded, _already_loaded)
    try:
        mlperf_loadgen.StartTestWithLogSettings(
            sut,
            library,
            _test_settings(settings, scenario),
            _log_settings(log_dir, prefix),
            str(log_dir / "no-audit.config"),
        )
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(sut)
        system.close()
    num_errors = sum(system.errors.values())
    latencies_ms = read_latencies(log_dir / f"{prefix}trace.json")
    measured = Measured(
        # LoadGen's latencies do not say which requests failed, so a run with errors has none at all.
        latencies_ms=() if num_errors else latencies_ms,
        wall_s=system.last_answer - system.first_issue,
        errors=dict(system.errors),
        send_us=sum(system.send_us) / max(1, len(system.send_us)),
        receive_us=sum(system.receive_us) / max(1, len(system.receive_us)),
        detections=tuple(system.detections),
    )
    return measured, {"requests": len(latencies_ms), **read_log(log_dir / f"{prefix}detail.txt")}


def _already_loaded(indices: list[int]) -> None:
    """LoadGen asks for samples to be loaded; the images are in memory since the start."""


def _test_settings(bench: BenchSettings, scenario: Scenario) -> Any:
    """LoadGen's settings of one scenario; its seeds stay at their defaults, so that runs can be compared."""
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = _LOADGEN_SCENARIOS[scenario]
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(bench.seconds * 1e3)
    settings.min_query_count = bench.requests or 1
    settings.server_target_qps = bench.target_qps
    settings.server_target_latency_ns = round(bench.latency_bound_ms * 1e6)
    settings.server_target_latency_percentile = SERVER_PERCENTILE
    settings.offline_expected_qps = bench.target_qps
    # Only a first guess of how many queries to prepare; LoadGen goes on until min_duration whatever it is.
    settings.single_stream_expected_latency_ns = round(1e9 / bench.target_qps)
    return settings


def _log_settings(log_dir: Path, prefix: str) -> Any:
    """Log files in `log_dir` with a prefix; the trace is on, since it alone holds each request's latency."""
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(log_dir)
    output.prefix = prefix
    output.copy_summary_to_stdout = False
    settings = mlperf_loadgen.LogSettings()
    settings.log_output = output
    settings.enable_trace = True
    return settings


def read_latencies(trace: Path) -> tuple[float, ...]:
    """Latencies in milliseconds from LoadGen's trace, in the order of completion.

    Each sample's line holds `complete_ns`, counted from the time the sample was scheduled. The file as a whole
    is not valid JSON, its lines are.
    """
    latencies: list[float] = []
    for line in trace.read_text(encoding="utf-8").splitlines():
        if line.startswith('{"name":"Sample"') and '"complete_ns"' in line:
            latencies.append(json.loads(line.rstrip(", "))["args"]["complete_ns"] / 1e6)
    return tuple(latencies)


def read_log(detail: Path) -> dict[str, Any]:
    """LoadGen's `verdict` (VALID or INVALID), its `reason` and its figures, from its detail log."""
    entries: dict[str, Any] = {}
    for line in detail.read_text(encoding="utf-8").splitlines():
        if not line.startswith(":::MLLOG "):
            continue
        entry = json.loads(line.removeprefix(":::MLLOG "))
        if entry["key"].startswith(("result_", "early_stopping_")):
            entries[entry["key"]] = entry["value"]
    reasons = [str(entries.get("result_invalid_reason", "")).strip()]
    if entries.get("early_stopping_met") is False:
        reasons.append("too few queries for MLPerf's early-stopping rule")
    return {
        "verdict": entries.get("result_validity", "missing"),
        "reason": "; ".join(reason for reason in reasons if reason),
        "figures": entries,
    }
