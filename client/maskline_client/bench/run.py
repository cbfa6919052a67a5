"""A whole benchmark: check the answers, warm up, time each run between two readings of the server's counters."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from maskline_command.console import results as results_console
from rich.console import Console
from tritonclient.utils import InferenceServerException

from maskline_client.bench.calls import Answer, Caller, connect
from maskline_client.bench.canvas.caller import CanvasCaller, make_canvases
from maskline_client.bench.closed_loop import MakeCaller, first_answers, gate, run_closed_loop
from maskline_client.bench.images import BenchImage, describe_images, load_images
from maskline_client.bench.loadgen import run_loadgen
from maskline_client.bench.machine import describe_machine, describe_versions, now, server_memory
from maskline_client.bench.report import write_report
from maskline_client.bench.results import BenchResults, Measured, Run, write_csv, write_json
from maskline_client.bench.settings import BenchSettings, Memory, Scenario
from maskline_client.bench.statistics import difference, read_counters, steps_of
from maskline_client.bench.table import print_tables
from maskline_client.errors import ClientError, from_status

# Triton adds a request to its statistics after it has sent the answer; this is longer than that takes.
SETTLE_S = 0.2
PACKAGES = ("maskline", "numpy", "pillow", "tritonclient", "grpcio", "mlcommons-loadgen")


class GateError(ClientError):
    """The server's answers are not the same twice; figures of wrong answers mean nothing."""


def run_bench(
    settings: BenchSettings, images: tuple[BenchImage, ...], out: Path, tell: Callable[[str], None]
) -> BenchResults:
    """Run everything; writes only LoadGen's log files (in `out`/loadgen), the caller writes the results.

    Args:
        settings: what to measure.
        images: what to send.
        out: folder of LoadGen's logs.
        tell: called with a line before each part, for a progress display.

    Raises:
        GateError: an image's answer is not the same at the highest concurrency.
        InferenceServerException: the server is not there, or refuses an image before anything was timed.
    """
    when = now()
    client = connect(settings.url, settings.timeout_s)
    try:
        steps = steps_of(client, settings.model)
        server = client.get_server_metadata()
        makers = _make_callers(settings, images)
        answers, gate_facts = _check_answers(settings, images, makers, tell)
        runs: list[Run] = []
        for scenario, in_flight, memory in _plans(settings):
            tell(f"{scenario}, {in_flight or 'any number of'} requests in flight, {memory} memory")
            _warm_up(settings, images, in_flight or 1, makers[memory])
            before = read_counters(client, steps)
            measured, loadgen = _measure(settings, scenario, in_flight, images, makers[memory], out)
            time.sleep(SETTLE_S)
            served = difference(before, read_counters(client, steps))
            runs.append(Run(scenario, in_flight, measured, served, loadgen, memory))
    finally:
        client.close()
    return BenchResults(
        when=when,
        settings={
            **dataclasses.asdict(settings),
            "scenarios": ", ".join(settings.scenarios),
            "memory": ", ".join(settings.memory),
        },
        machine=describe_machine(),
        versions={**describe_versions(PACKAGES), str(server.name): str(server.version)},
        images={**describe_images(images), "mean_detections": _mean([answer.num_detections for answer in answers])},
        gate=gate_facts,
        runs=tuple(runs),
        server_processes=server_memory(settings.url),
    )


def _make_callers(settings: BenchSettings, images: tuple[BenchImage, ...]) -> dict[Memory, MakeCaller]:
    """What opens one connection, by the way that canvases take."""
    url, timeout_s = settings.url, settings.timeout_s
    if not settings.takes_canvases:
        return {Memory.PLAIN: lambda: Caller(url, settings.model, timeout_s)}
    canvases = make_canvases(url, settings.model, images, timeout_s)
    return {
        memory: functools.partial(CanvasCaller, url, settings.model, timeout_s, canvases, memory)
        for memory in settings.memory
    }


def _warm_up(settings: BenchSettings, images: tuple[BenchImage, ...], in_flight: int, make_caller: MakeCaller) -> None:
    """Untimed requests, as many in flight as in the run that follows."""
    if settings.warmup:
        run_closed_loop(make_caller, images, in_flight, requests=settings.warmup, seconds=None)
    time.sleep(SETTLE_S)


def _check_answers(
    settings: BenchSettings,
    images: tuple[BenchImage, ...],
    makers: Mapping[Memory, MakeCaller],
    tell: Callable[[str], None],
) -> tuple[list[Answer], dict[str, Any]]:
    """Ask each image alone, then all of them at the highest concurrency, where batches could mix them up."""
    tell("checking that every image gets the same answer alone and under load")
    expected = first_answers(next(iter(makers.values())), images)
    concurrency = max(settings.concurrency)
    problems = [line for make_caller in makers.values() for line in gate(make_caller, images, expected, concurrency)]
    if problems:
        raise GateError(
            f"{len(problems)} of {len(images)} images got another answer at concurrency {concurrency} than alone "
            f"(first: {problems[0]}); expected the same; nothing was timed. Check the server's log"
        )
    return expected, {
        "images": len(images),
        "concurrency": concurrency,
        "outcome": "same number, classes, boxes (0.05 px), scores (0.001), mask areas, keypoints as when asked alone",
    }


def _plans(settings: BenchSettings) -> list[tuple[Scenario, int, Memory]]:
    """Scenario, requests in flight (0: not bounded) and way of each run; the closed loop runs once a level and way."""
    plans: list[tuple[Scenario, int, Memory]] = []
    for scenario in settings.scenarios:
        match scenario:
            case Scenario.CLOSED_LOOP:
                plans += [(scenario, level, memory) for level in settings.concurrency for memory in settings.memory]
            case Scenario.SINGLE_STREAM:
                plans.append((scenario, 1, Memory.PLAIN))
            case Scenario.SERVER:
                plans.append((scenario, 0, Memory.PLAIN))
            case Scenario.OFFLINE:
                plans.append((scenario, settings.in_flight, Memory.PLAIN))
    return plans


def _measure(
    settings: BenchSettings,
    scenario: Scenario,
    in_flight: int,
    images: tuple[BenchImage, ...],
    make_caller: MakeCaller,
    out: Path,
) -> tuple[Measured, dict[str, Any] | None]:
    """The timed part of one run."""
    if scenario is not Scenario.CLOSED_LOOP:
        return run_loadgen(settings, scenario, images, out / "loadgen")
    seconds = None if settings.requests else settings.seconds
    return run_closed_loop(make_caller, images, in_flight, requests=settings.requests, seconds=seconds), None


def _mean(values: list[int]) -> float:
    """Arithmetic mean; there is at least one image."""
    return sum(values) / len(values)


def run_command(settings: BenchSettings, images: Path, out: Path) -> BenchResults:
    """Measure, write results.json, results.csv and report.html to `out`, print the tables.

    Raises:
        ValueError: `images` is not a folder of images.
        ClientError: the server is not there, refuses an image before anything was timed, or answers differently
            under load than alone.
        OSError: `out` cannot be written.
    """
    loaded = load_images(images)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with Console(stderr=True, markup=False, emoji=False).status("starting") as status:
            results = run_bench(settings, loaded, out, status.update)
    except InferenceServerException as error:
        raise from_status(str(error.status()), str(error.message()), settings.url, settings.timeout_s) from error
    write_json(out / "results.json", results)
    write_csv(out / "results.csv", results)
    write_report(out / "report.html", results)
    console = results_console()
    print_tables(console, results)
    console.print(f"report: {out / 'report.html'}", soft_wrap=True)
    return results
