"""Times of each step from Triton's own statistics, and summaries of latencies.

Triton counts nanoseconds since its start; a benchmark reads the counters before and after and keeps the
difference. Every request of a batch is charged the time of the whole batch, so a mean here is what one request
waited.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskline_client.contract import word_of

PHASES = ("queue", "compute_input", "compute_infer", "compute_output")


@dataclasses.dataclass(frozen=True)
class ModelCounters:
    """Triton's counters of one model since the server's start.

    Attributes:
        inferences: images (inference_count): requests times their batch.
        executions: batches the model ran.
        successes: requests answered.
        failures: requests answered with an error.
        phase_ns: total nanoseconds of each of PHASES, over all requests.
        batches: executions by batch size.
    """

    inferences: int
    executions: int
    successes: int
    failures: int
    phase_ns: dict[str, int]
    batches: dict[int, int]


@dataclasses.dataclass(frozen=True)
class StepTimes:
    """What one model of the ensemble did between two readings.

    Attributes:
        model: what the step is: its model's name without the tag of its repository.
        inferences: images it processed.
        executions: batches it ran.
        failures: requests it answered with an error.
        mean_batch: images an execution; 0 without executions.
        queue_us: mean microseconds a request waited for an instance.
        compute_input_us: mean microseconds to gather the inputs.
        compute_infer_us: mean microseconds in the model.
        compute_output_us: mean microseconds to hand the outputs on.
        batches: executions by batch size, of batching models only.
    """

    model: str
    inferences: int
    executions: int
    failures: int
    mean_batch: float
    queue_us: float
    compute_input_us: float
    compute_infer_us: float
    compute_output_us: float
    batches: dict[int, int]

    @property
    def total_us(self) -> float:
        """Mean microseconds of a request in this step, queue included."""
        return self.queue_us + self.compute_input_us + self.compute_infer_us + self.compute_output_us


@dataclasses.dataclass(frozen=True)
class Latency:
    """Summary of client latencies in milliseconds; percentiles interpolate linearly between sorted values."""

    count: int
    min_ms: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


def summarize(latencies_ms: Sequence[float]) -> Latency:
    """Summarize latencies; p50 is the median.

    Raises:
        ValueError: no latency at all.
    """
    if not latencies_ms:
        raise ValueError("latencies: got none, expected at least one answered request")
    values = np.asarray(latencies_ms, dtype=np.float64)
    p50, p90, p95, p99 = (float(value) for value in np.percentile(values, [50, 90, 95, 99]))
    return Latency(len(values), float(values.min()), float(values.mean()), p50, p90, p95, p99, float(values.max()))


def steps_of(client: Any, model: str) -> tuple[str, ...]:
    """Names of the models an ensemble runs, in its configuration's order; of a plain model, its own name.

    Args:
        client: a `tritonclient.grpc.InferenceServerClient`.
        model: the model that requests name.
    """
    config = client.get_model_config(model).config
    return tuple(step.model_name for step in config.ensemble_scheduling.step) or (model,)


def read_counters(client: Any, models: Sequence[str]) -> dict[str, ModelCounters]:
    """Triton's counters of each model, now; versions of a model are added up."""
    return {name: _sum_versions(client.get_inference_statistics(name).model_stats) for name in models}


def _sum_versions(versions: Any) -> ModelCounters:
    """Add up the `ModelStatistics` messages of one model's versions."""
    batches: dict[int, int] = {}
    for stats in versions:
        for batch in stats.batch_stats:
            size = int(batch.batch_size)
            batches[size] = batches.get(size, 0) + int(batch.compute_infer.count)
    return ModelCounters(
        inferences=sum(int(stats.inference_count) for stats in versions),
        executions=sum(int(stats.execution_count) for stats in versions),
        successes=sum(int(stats.inference_stats.success.count) for stats in versions),
        failures=sum(int(stats.inference_stats.fail.count) for stats in versions),
        phase_ns={phase: sum(int(getattr(stats.inference_stats, phase).ns) for stats in versions) for phase in PHASES},
        batches=batches,
    )


def difference(before: dict[str, ModelCounters], after: dict[str, ModelCounters]) -> tuple[StepTimes, ...]:
    """What each model did between two readings, in the order of `after`; no request gives zero times."""
    return tuple(_step_times(model, before[model], counters) for model, counters in after.items())


def _step_times(model: str, before: ModelCounters, after: ModelCounters) -> StepTimes:
    """Subtract two readings of one model and divide by its requests."""
    requests = after.successes - before.successes
    executions = after.executions - before.executions
    inferences = after.inferences - before.inferences
    batches = {size: count - before.batches.get(size, 0) for size, count in sorted(after.batches.items())}
    mean_us = {
        phase: (after.phase_ns[phase] - before.phase_ns[phase]) / 1e3 / requests if requests else 0.0
        for phase in PHASES
    }
    return StepTimes(
        model=word_of(model),
        inferences=inferences,
        executions=executions,
        failures=after.failures - before.failures,
        mean_batch=inferences / executions if executions else 0.0,
        queue_us=mean_us["queue"],
        compute_input_us=mean_us["compute_input"],
        compute_infer_us=mean_us["compute_infer"],
        compute_output_us=mean_us["compute_output"],
        batches={size: count for size, count in batches.items() if count},
    )
