"""C11 what serving adds: the client's latency less the computing of the steps, of the same request.

A real Triton server, one request after the other over gRPC. What the steps compute is decoding, resizing and padding,
ONNX Runtime's runs, and bringing boxes and masks to the image (see own_time.py). The rest is what serving adds: gRPC,
the scheduler of the ensemble, queues, copies, conversions, and the ways to the processes of Python and back.

Run: make bench-steps, or python -m maskline_bench.steps REPOSITORY IMAGES --rounds 50
"""

from __future__ import annotations

import dataclasses
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from maskline_client.bench.calls import Caller, connect
from maskline_client.bench.images import load_images
from maskline_client.bench.machine import describe_machine, describe_versions, server_memory
from maskline_client.bench.statistics import difference, read_counters, steps_of
from maskline_serve.repository.libraries import BACKEND_PLACE
from maskline_serve.server.triton_server import TritonServer
from rich.console import Console
from rich.table import Table

from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import PACKAGES
from maskline_bench.result_file import write_json
from maskline_bench.steps.made import MODELS
from maskline_bench.steps.own_time import OwnTimes

ENSEMBLE = "maskrcnn"
TIMEOUT_S = 60.0
WARMUP = 2  # uncounted requests of each image


def measure(repository: Path, images: Path, rounds: int, python: bool) -> dict[str, Any]:
    """Serve a copy of a repository and ask it; returns the JSON-ready result, milliseconds.

    Raises:
        BenchmarkError: `images` holds none, or the server answers sooner than its steps are said to compute.
        ServeError: the repository cannot be served.
    """
    try:
        files = load_images(images)
    except ValueError as error:
        raise BenchmarkError(str(error)) from error
    with tempfile.TemporaryDirectory(prefix="maskline-bench-") as folder:
        copy, times = Path(folder, "repository"), Path(folder, "times")
        shutil.copytree(repository, copy)
        times.mkdir()
        if python:
            (copy / BACKEND_PLACE).unlink(missing_ok=True)
        own = OwnTimes(copy, times)
        with TritonServer(copy) as server:
            caller, client = Caller(server.grpc_url, ENSEMBLE, TIMEOUT_S), connect(server.grpc_url, TIMEOUT_S)
            for index in range(WARMUP * len(files)):
                caller.call(files[index % len(files)])
            names = steps_of(client, ENSEMBLE)
            before, latencies, computed = read_counters(client, names), [], []
            for index in range(rounds):
                own.take(client)
                latencies.append(caller.call(files[index % len(files)]).latency_ms)
                computed.append(own.take(client))
            steps = difference(before, read_counters(client, names))
            memory = server_memory(server.grpc_url)
            caller.close()
            client.close()
    sums = [sum(each.values()) for each in computed]
    adds = [latency - total for latency, total in zip(latencies, sums, strict=True)]
    if min(adds) <= 0:
        raise BenchmarkError(f"a request took {min(adds):.2f} ms less than its steps computed, so something is amiss")
    return {
        "images": len(files),
        "rounds": rounds,
        "client_p50": statistics.median(latencies),
        "computing_p50": statistics.median(sums),
        "adds": {"p25_p50_p75": statistics.quantiles(adds), "max": max(adds)},
        "computing_by_step": {name: statistics.median(each[name] for each in computed) for name in computed[0]},
        "triton_by_step": [dataclasses.asdict(step) for step in steps],
        "server_processes": [dataclasses.asdict(process) for process in memory],
        "requests": [{"latency": latency, **each} for latency, each in zip(latencies, computed, strict=True)],
    }


def show(console: Console, name: str, result: dict[str, Any]) -> None:
    """What serving adds, and where: a line, and a row a step."""
    low, middle, high = result["adds"]["p25_p50_p75"]
    console.print(
        f"[bold]{name}[/bold]: serving adds {middle:.2f} ms (quartiles {low:.2f} and {high:.2f}, at most "
        f"{result['adds']['max']:.2f}); client p50 {result['client_p50']:.2f} ms, computing of the steps p50 "
        f"{result['computing_p50']:.2f} ms; {result['rounds']} requests, one after the other",
        highlight=False,
    )
    table = Table(title="ms a request: what the step computes, and Triton's own means", title_justify="left")
    table.add_column("step")
    for heading in ("computes", "queue", "input", "infer", "output"):
        table.add_column(heading, justify="right")
    for step in result["triton_by_step"]:
        phases = (step[f"{phase}_us"] / 1e3 for phase in ("queue", "compute_input", "compute_infer", "compute_output"))
        own = result["computing_by_step"][step["model"]]
        table.add_row(step["model"], f"{own:.2f}", *(f"{value:.2f}" for value in phases))
    console.print(table)
    memory = ", ".join(f"{process['name']} {process['peak_mib']:.0f}" for process in result["server_processes"])
    console.print(f"peak memory, MiB: {memory}", highlight=False)


def main(
    repository: Annotated[Path | None, typer.Argument(help="An assembled repository; by itself both models.")] = None,
    images: Annotated[Path | None, typer.Argument(help="Folder of image files to send in turn.")] = None,
    rounds: Annotated[int | None, typer.Option(min=2, help="Counted requests; by itself 15 and 300.")] = None,
    python: Annotated[
        bool, typer.Option("--python", help="By the backend in Python, without our library in the server's process.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Measure what serving adds to the computing of the steps, at 800x1344 and at 256x256 or of any repository.

    Example: python -m maskline_bench.steps repository photos --rounds 50
    """
    console, results = Console(), {}
    with in_one_line("bench-steps"):
        if (repository is None) != (images is None):
            raise BenchmarkError("got a repository without images, expected both or neither")
        if repository is not None and images is not None:
            results[str(repository)] = measure(repository, images, rounds or 50, python)
        for name, (make, usual) in MODELS.items() if repository is None else ():
            with tempfile.TemporaryDirectory(prefix="maskline-bench-") as folder:
                with console.status(f"{name}: making, exporting and assembling"):
                    make(Path(folder))
                results[name] = measure(Path(folder, "repository"), Path(folder, "images"), rounds or usual, python)
    for name, result in results.items():
        show(console, name, result)
    if json_file is not None:
        head = {"machine": describe_machine(), "versions": describe_versions(PACKAGES), "python_backend": python}
        write_json(json_file, {**head, "models": results})


if __name__ == "__main__":
    typer.run(main)
