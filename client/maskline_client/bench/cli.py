"""The command `maskline-client bench`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from maskline_client.bench.settings import BenchSettings, Ensemble, Memory, Scenario, ensemble_name
from maskline_client.connection import DEFAULT_URL
from maskline_client.errors import ClientError


def bench(
    images: Annotated[Path, typer.Option(help="Folder with the JPEG, PNG or WebP files to send.")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, results.csv, report.html, loadgen/.")],
    url: Annotated[str, typer.Option(help="host:port of the server's gRPC endpoint.")] = DEFAULT_URL,
    model: Annotated[str, typer.Option(help="The served model's name; or that of one of its ensembles.")] = "maskrcnn",
    ensemble: Annotated[
        Ensemble | None, typer.Option(help="Which of its ensembles to call; full is the default.")
    ] = None,
    memory: Annotated[
        list[Memory] | None,
        typer.Option(help="engines: the canvas' way to a server of this machine; repeat for several."),
    ] = None,
    scenario: Annotated[
        list[Scenario] | None, typer.Option(help="What to run; repeat for several. Default: closed-loop.")
    ] = None,
    concurrency: Annotated[str, typer.Option(help="Requests in flight of each closed-loop level.")] = "1,2,4",
    requests: Annotated[
        int | None,
        typer.Option(min=1, help="Requests of a closed-loop level instead of --seconds; LoadGen: at least."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Duration of each level or scenario.")] = 10.0,
    warmup: Annotated[int, typer.Option(min=0, help="Untimed requests before each run.")] = 5,
    target_qps: Annotated[
        float, typer.Option(min=0.01, help="server: arrivals a second; offline: images a second to expect.")
    ] = 2.0,
    latency_bound_ms: Annotated[
        float, typer.Option(min=1, help="server: what 99 % of the requests must meet for LoadGen's verdict.")
    ] = 5000.0,
    in_flight: Annotated[int, typer.Option(min=1, help="offline: requests in flight at most.")] = 8,
    timeout: Annotated[float, typer.Option(min=0.1, help="Deadline of a request, seconds.")] = 60.0,
) -> None:
    """Measure a served model: latency, throughput, the server's time by step, its memory.

    Every image is first asked alone and under load, and the answers must agree. A failed request voids its run,
    and the command then exits with 1.

    Example: maskline-client bench --images photos/ --out out/bench --concurrency 1,2,4 --seconds 20
    --scenario closed-loop --scenario server --target-qps 3

    Shared memory: maskline-client bench --images photos/ --out out/bench --ensemble engines --memory plain
    --memory system. It can help where the network takes little longer than the copies of a canvas.
    """
    try:
        # Here, not above: the commands that measure nothing must not need the packages of the `bench` extra.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # that it makes its cache elsewhere is no news
        from maskline_client.bench.run import run_command
    except ModuleNotFoundError as error:
        raise ClientError(f"{error}; `pip install 'maskline[bench]'`") from error
    settings = BenchSettings(
        url=url,
        model=ensemble_name(model, ensemble),
        memory=tuple(memory or [Memory.PLAIN]),
        scenarios=tuple(scenario or [Scenario.CLOSED_LOOP]),
        concurrency=_levels(concurrency),
        requests=requests,
        seconds=seconds,
        warmup=warmup,
        target_qps=target_qps,
        latency_bound_ms=latency_bound_ms,
        in_flight=in_flight,
        timeout_s=timeout,
    )
    results = run_command(settings, images, out)
    if results.voids:
        raise ClientError(f"VOID, do not use: {'; '.join(results.voids)}")


def _levels(text: str) -> tuple[int, ...]:
    """Parse "1,2,4".

    Raises:
        ValueError: not a list of positive whole numbers.
    """
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--concurrency: got {text!r}, expected numbers above 0 with commas between, as in 1,2,4")
    return tuple(int(part) for part in parts)
