"""The report: one HTML file that carries its plots and its style, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from maskline_show.page import whole_page
from maskline_show.parts import facts, section, table, text, tiles

from maskline_client.bench.canvas.helps import helps
from maskline_client.bench.charts import latency_chart, steps_chart, throughput_chart
from maskline_client.bench.results import BenchResults, Run
from maskline_client.bench.settings import Scenario
from maskline_client.files import write_text


def write_report(path: Path, results: BenchResults) -> None:
    """Write report.html."""
    write_text(path, to_html(results))


def to_html(results: BenchResults) -> str:
    """The page as text; it refers to no other file and no network address."""
    settings = results.settings
    body = "\n".join(
        [
            f"<h1>maskline bench: {text(settings['model'])}</h1>",
            f'<p class="soft">{text(results.when)} at {text(settings["url"])}. {text(_image_line(results))}</p>',
            *(f'<p class="bad">VOID, do not use: {text(line)}</p>' for line in results.voids),
            _tiles(results),
            *_charts(results),
            _latency_table(results.runs),
            *(f"<p>{text(line)}</p>" for line in helps(results.runs)),
            _steps_tables(results.runs),
            _loadgen_table(results.runs),
            _memory_table(results),
            _facts("Check before timing", results.gate),
            '<div class="pair">',
            _facts("Machine of the client", results.machine),
            _facts("Versions", results.versions),
            "</div>",
            _facts("Settings", settings),
        ]
    )
    return whole_page("maskline bench", body)


def levels_of(results: BenchResults) -> list[Run]:
    """The closed loop's levels that may be used, by concurrency."""
    closed = [run for run in results.runs if run.scenario is Scenario.CLOSED_LOOP and not run.void]
    usable = [run for run in closed if run.memory is closed[0].memory]  # the plots know one way
    return sorted(usable, key=lambda run: run.concurrency)


def _image_line(results: BenchResults) -> str:
    """One sentence on what was sent."""
    images = results.images
    return (
        f"{images['count']} images of {images['smallest']} to {images['largest']} px, "
        f"{images['mean_kilobytes']:.3g} kB each on average; {images['mean_detections']:.3g} objects found an image."
    )


def _tiles(results: BenchResults) -> str:
    """The few figures that a reader looks for first."""
    levels = levels_of(results)
    shown: list[tuple[str, str]] = []
    if levels:
        first, best = levels[0], max(levels, key=lambda run: run.images_per_second)
        shown += [
            (f"{first.latency.p50_ms:.4g} ms", f"median latency, {first.concurrency} in flight"),
            (f"{first.latency.p99_ms:.4g} ms", f"99th percentile, {first.concurrency} in flight"),
            (f"{best.images_per_second:.3g} / s", f"most images a second, {best.concurrency} in flight"),
        ]
    shown.append((str(sum(run.num_errors for run in results.runs)), "failed requests"))
    if results.server_processes:
        peak = sum(process.peak_mib for process in results.server_processes)
        shown.append((f"{peak:.0f} MiB", f"peaks of {len(results.server_processes)} server processes, added"))
    return tiles(shown)


def _charts(results: BenchResults) -> list[str]:
    """The plots; there are none without a usable level of the closed loop."""
    levels = levels_of(results)
    if not levels:
        return []
    shown = levels[:1] + levels[-1:] if len(levels) > 1 else levels
    steps = "".join(
        f"<section><h2>Server time by step, {run.concurrency} in flight</h2>{steps_chart(run)}</section>"
        for run in shown
    )
    return [
        f'<div class="pair"><section><h2>Latency</h2>{latency_chart(levels)}</section>'
        f"<section><h2>Throughput</h2>{throughput_chart(levels)}</section></div>",
        f'<div class="pair">{steps}</div>',
    ]


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """A section with a table; nothing when there are no rows."""
    lines = list(rows)
    return section(title, table(head, lines), note) if lines else ""


def _latency_table(runs: Sequence[Run]) -> str:
    """Client latencies of all runs."""
    head = ["run", "requests", "images/s", "min", "p50", "p90", "p95", "p99", "max", "objects/image", "errors"]
    note = "ms, from file bytes in hand to arrays in hand; the server scenario counts from the scheduled time"
    return _table("Client latency", head, (_latency_row(run) for run in runs), note)


def _latency_row(run: Run) -> list[object]:
    """One row; a void run shows its errors and no figure."""
    if run.void:
        return [run.label, "VOID", *[""] * 8, run.num_errors]
    times = run.latency
    figures = (times.min_ms, times.p50_ms, times.p90_ms, times.p95_ms, times.p99_ms, times.max_ms)
    return [run.label, times.count, run.images_per_second, *figures, run.mean_detections, 0]


def _steps_tables(runs: Sequence[Run]) -> str:
    """The server's own times of every run."""
    head = ["run", "step", "images", "executions", "images/execution", "queue", "input", "infer", "output", "batches"]
    rows = [
        [
            run.label, step.model, step.inferences, step.executions, step.mean_batch,
            step.queue_us / 1e3, step.compute_input_us / 1e3, step.compute_infer_us / 1e3, step.compute_output_us / 1e3,
            ", ".join(f"{count} of {size}" for size, count in step.batches.items()),
        ]
        for run in runs
        if not run.void
        for step in run.steps
    ]  # fmt: skip
    note = "mean ms of a request from Triton's statistics, before and after the run; batches: how many of which size"
    return _table("Server time by step", head, rows, note)


def _loadgen_table(runs: Sequence[Run]) -> str:
    """LoadGen's verdicts, with ours above them: a run with errors is void whatever LoadGen says."""
    rows = [
        [run.label, run.loadgen["verdict"], run.void or "no errors", run.loadgen["requests"],
         run.loadgen["reason"]]
        for run in runs
        if run.loadgen is not None
    ]  # fmt: skip
    head = ["scenario", "LoadGen says", "errors", "requests", "LoadGen's reason"]
    return _table("MLPerf LoadGen", head, rows, "LoadGen does not see errors; a run with errors is void.")


def _memory_table(results: BenchResults) -> str:
    """Memory of the server's processes."""
    rows = [[process.name, process.peak_mib, process.resident_mib] for process in results.server_processes]
    note = "MiB; the peak since each process started (VmHWM); shared memory is counted in every process that maps it"
    return _table("Server memory", ["process", "peak", "now"], rows, note)


def _facts(title: str, values: dict[str, Any]) -> str:
    """Names and values."""
    return section(title, facts(values))
