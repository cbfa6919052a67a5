"""What alternating shapes cost the stages that are served: one session or one a batch size, by either search.

ONNX Runtime's convolution keeps the plan of its last shape alone, so a session that meets sizes and canvases in turn
may plan again at each call. Four sides: `sessions` shared or each, `cudnn_conv_algo_search` HEURISTIC or EXHAUSTIVE.
Each runs by the code that serves, features staying on the card: every size again and again (steady), all sizes in turn,
two canvases in turn. If `shared, HEURISTIC` in turn is within 10 % of `each, HEURISTIC`, one session is enough, and
Triton's own backend then does as well.

Run: python -m maskline_bench.engines.alternating --device cuda --precision fp16 --json out/owed/alternating.json
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import onnxruntime as ort
import torch
import typer
from maskline_serve.errors import ServeError
from maskline_serve.repository.assemble import Target, assemble
from maskline_serve.repository.config import parse
from maskline_serve.repository.on_disk import Repository
from rich.console import Console
from rich.table import Table

from maskline_bench.both_models import FULL, QUICK
from maskline_bench.device_ops.timing import describe as describe_gpu
from maskline_bench.engines.__main__ import Device, Precision, make_artifacts
from maskline_bench.engines.served import ServedStages, batch_of
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import describe
from maskline_bench.result_file import write_json

SIZES = (1, 2, 4, 8)
IN_TURN = (1, 8, 2, 4, 8, 1, 4, 2)  # each size after a smaller and a larger one
ENOUGH = 1.1  # of one session a size: then one for all is kept
_SEARCHES = {"EXHAUSTIVE": "0", "HEURISTIC": "1"}

Calls = dict[str, list[float]]  # "8" -> milliseconds of each call with that batch


def sides(device: Device) -> dict[str, dict[str, str]]:
    """Side -> its parameters; a CPU has no search."""
    searches = _SEARCHES if device == "cuda" else {"HEURISTIC": "1"}
    return {
        f"{sessions}, {search}": {"sessions": sessions, "cudnn_conv_algo_search": number}
        for search, number in searches.items()
        for sessions in ("shared", "each")
    }


def orders(canvases: list[tuple[int, int]]) -> dict[str, list[tuple[int, tuple[int, int]]]]:
    """How batches come: (images, canvas) of each call."""
    first, second = canvases
    return {
        "steady": [(size, first) for size in SIZES for _ in range(2)],
        "sizes in turn": [(size, first) for size in IN_TURN],
        "canvases in turn": [(size, canvas) for size in SIZES for canvas in (first, second)],
    }


def two_canvases(repository: Path) -> list[tuple[int, int]]:
    """The first two that the first stage warms up; one twice where there is no other."""
    path = Repository.load(repository).model("backbone") / "config.pbtxt"
    config = parse(path.read_text(encoding="utf-8"), path)
    found = [tuple(dims["canvas"][:2]) for dims in json.loads(config.parameters["warm_up"].string_value)]
    return [found[0], found[min(1, len(found) - 1)]]


def measure(repository: Path, device: Device, rounds: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Time every side in every order, side by side in each round."""
    canvases = two_canvases(repository)
    batches = {(size, canvas): batch_of(size, canvas, size) for size in SIZES for canvas in canvases}
    stages: dict[str, ServedStages] = {}
    for name, parameters in sides(device).items():
        tell(f"{name}: loading, and warming up every size on two canvases")
        stages[name] = ServedStages(repository, device, (0, 1), **parameters)
    found: dict[str, dict[str, Calls]] = {name: {} for name in stages}
    for turn in range(rounds):
        for order, calls in orders(canvases).items():
            for name, side in stages.items():
                tell(f"round {turn + 1} of {rounds}: {order}, {name}")
                times = found[name].setdefault(order, {})
                for at, (size, canvas) in enumerate(calls):
                    seconds: dict[str, list[float]] = {}
                    side.run(batches[size, canvas], seconds)
                    if order != "steady" or at % 2:  # the first of a pair comes after another size
                        times.setdefault(str(size), []).append(1e3 * sum(sum(each) for each in seconds.values()))
    medians = {
        name: {order: {size: statistics.median(ms) for size, ms in calls.items()} for order, calls in each.items()}
        for name, each in found.items()
    }
    return {
        "canvases": canvases,
        "warm_up_s": {name: side.warm_up_s for name, side in stages.items()},
        "median_ms_a_call": medians,
        "ms_of_each_call": found,
        "shared_over_each": {order: ratio(medians, order) for order in orders(canvases)},
    }


def ratio(medians: dict[str, dict[str, dict[str, float]]], order: str) -> float:
    """The largest ratio of one session for all to one a size, over the sizes, by HEURISTIC."""
    shared, each = (medians[f"{sessions}, HEURISTIC"][order] for sessions in ("shared", "each"))
    return max(shared[size] / each[size] for size in shared)


def show(console: Console, result: dict[str, Any]) -> None:
    """A row a side and order, and what follows."""
    table = Table(title="milliseconds a call, medians", title_justify="left")
    for heading in ("side", "batches come", *map(str, SIZES), "warm-up s"):
        table.add_column(heading, justify="left" if heading in ("side", "batches come") else "right")
    for name, each in result["median_ms_a_call"].items():
        for order, medians in each.items():
            times = [f"{medians[str(size)]:.2f}" for size in SIZES]
            table.add_row(name, order, *times, f"{result['warm_up_s'][name]:.1f}" if order == "steady" else "")
    console.print(table)
    if len(result["warm_up_s"]) < len(_SEARCHES) * 2:
        return  # a CPU plans nothing
    worst = max(result["shared_over_each"].values())
    verdict = "keep sessions: shared" if worst <= ENOUGH else "take sessions: each"
    console.print(f"one session for all takes at most {worst:.2f} times as long as one a size: {verdict}")


def main(
    device: Annotated[Device, typer.Option(help="Where the stages run.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="Of trunk and heads.")] = "fp32",
    rounds: Annotated[int, typer.Option(min=1, help="Of every order.")] = 5,
    artifact: Annotated[Path | None, typer.Option(help="A dense artifact of your own in the network's place.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run on tiny pictures.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Time the served stages of ResNet-50-FPN in alternating shapes, by the sessions they have.

    Example: python -m maskline_bench.engines.alternating --device cuda --precision fp16
    """
    console, setting = Console(), QUICK if quick else FULL
    with in_one_line("bench-alternating"), tempfile.TemporaryDirectory(prefix="maskline-bench-") as folder:
        if device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError("got no GPU, expected one; nothing was timed")
        head = describe(torch.get_num_threads())
        head["versions"]["onnxruntime"] = ort.__version__
        if device == "cuda":
            head["gpu"] = describe_gpu()
        repository = Path(folder) / "repository"
        with console.status("making weights and exporting") as status:
            given = artifact or make_artifacts(setting, precision, Path(folder))[0]["dense"]
            try:
                assemble(given, repository, Target.ONNXRUNTIME_GPU)
                result = measure(repository, device, rounds, status.update)
            except (ServeError, ValueError) as error:
                raise BenchmarkError(str(error)) from error
    console.print(head["gpu"]["machine"] if device == "cuda" else head["machine"], head["versions"])
    show(console, result)
    if json_file is not None:
        of = {"precision": precision} if artifact is None else {"artifact": artifact.name}
        write_json(json_file, {**head, "device": device, **of, **result})


if __name__ == "__main__":
    typer.run(main)
