"""The same figures on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from maskline_client.bench.canvas.helps import helps
from maskline_client.bench.results import BenchResults, Run


def print_tables(console: Console, results: BenchResults) -> None:
    """Print latencies, the server's steps and its memory; void runs in red."""
    images = results.images
    console.print(
        f"{images['count']} images, {images['smallest']} to {images['largest']} px, "
        f"{images['mean_detections']:.3g} objects an image; {results.machine['cpu']}, {results.machine['cores']} cores"
    )
    console.print(_latency_table(results.runs))
    for line in helps(results.runs):
        console.print(line, soft_wrap=True)
    console.print(_steps_table(results.runs))
    if results.server_processes:
        console.print(_memory_table(results))


def _latency_table(runs: tuple[Run, ...]) -> Table:
    """Client latencies in ms."""
    table = Table(title="client latency, ms", title_justify="left")
    table.add_column("run")
    for name in ("requests", "images/s", "min", "p50", "p90", "p95", "p99", "errors"):
        table.add_column(name, justify="right")
    for run in runs:
        if run.void:
            table.add_row(run.label, "VOID", *[""] * 6, str(run.num_errors), style="red")
            continue
        latency = run.latency
        times = (latency.min_ms, latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms)
        figures = (f"{value:.4g}" for value in (run.images_per_second, *times))
        table.add_row(run.label, str(latency.count), *figures, "0")
    return table


def _steps_table(runs: tuple[Run, ...]) -> Table:
    """Server times by step, ms a request."""
    table = Table(title="server time by step, mean ms a request", title_justify="left")
    table.add_column("run")
    table.add_column("step")
    for name in ("queue", "input", "infer", "output", "images/execution"):
        table.add_column(name, justify="right")
    for run in runs:
        for step in () if run.void else run.steps:
            times = (step.queue_us, step.compute_input_us, step.compute_infer_us, step.compute_output_us)
            table.add_row(run.label, step.model, *(f"{value / 1e3:.3f}" for value in times), f"{step.mean_batch:.2f}")
    return table


def _memory_table(results: BenchResults) -> Table:
    """Peak memory of the server's processes."""
    table = Table(title="server memory, MiB", title_justify="left")
    table.add_column("process")
    table.add_column("peak", justify="right")
    table.add_column("now", justify="right")
    for process in results.server_processes:
        table.add_row(process.name, f"{process.peak_mib:.0f}", f"{process.resident_mib:.0f}")
    return table
