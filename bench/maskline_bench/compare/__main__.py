"""C7, G12: JPEG in, COCO RLE out, by ours and by the peers, of pictures that lie, stand and are square, in turn.

Ours: through a real Triton server, and the steps in this process; with TensorRT where it is. torchvision as it comes,
in autocast, and with its trunk compiled. Same weights, same JPEG files. Before any timing every side of float32 must
find the same objects in the same pixels as torchvision; how far the others are from it is printed, and the AP of each.

Run: make compare DEVICE=cpu, or python -m maskline_bench.compare --device cuda --json out/compare.json
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from maskline_client.bench.machine import server_memory
from rich.console import Console

from maskline_bench.compare import machine
from maskline_bench.compare.accuracy import KINDS, accuracy
from maskline_bench.compare.memory import peak_mib, print_peak
from maskline_bench.compare.show import show
from maskline_bench.compare.sides import COMPILED, EAGER, OURS, THEIRS, TRITON, Side, in_process, left_out, triton
from maskline_bench.compare.timing import time_in_turn
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.made_model import MadeModel, Size, made_model, same_pixels
from maskline_bench.measure import gflop
from maskline_bench.owed.steady_memory import gpu_memory_mib
from maskline_bench.owed.task import MADE, Device, head
from maskline_bench.result_file import write_json
from maskline_bench.serving.eager import Found, detect
from maskline_bench.serving.gate import Agreement, agreement, check_counts, check_same_pixels
from maskline_bench.teach import Tell

# A batch of one process, or requests in flight at the server.
IN_PROCESS = (1, 8)
IN_FLIGHT = {"cpu": (1, 8), "cuda": (1, 8, 16, 48)}
# A side in half precision finds most of what float32 finds, however it rounds; one that computes otherwise, nothing.
MIN_SHARE_HALF = 0.5


def check(name: str, precision: str, pairs: list[Agreement], min_mask_iou: float) -> None:
    """Raise BenchmarkError where a side does not find what torchvision finds in the same pixels."""
    try:
        if precision == "fp32":
            check_same_pixels(pairs, min_mask_iou)
        elif statistics.mean(pair.share for pair in pairs) < MIN_SHARE_HALF:
            shares = [round(pair.share, 3) for pair in pairs]
            raise BenchmarkError(f"shares of objects that match: got {shares}, expected {MIN_SHARE_HALF} in the mean")
    except BenchmarkError as error:
        raise BenchmarkError(f"{name}: {error}") from error


def agree(found: Sequence[Found], theirs: Sequence[Found]) -> list[Agreement]:
    """Picture by picture."""
    return [agreement(mine, other) for mine, other in zip(found, theirs, strict=True)]


def answers_of(sides: Sequence[Side], made: MadeModel) -> dict[str, dict[str, Any]]:
    """What each side finds: the gate, and its accuracy; the first calls of every side, so its warm-up too."""
    pictures = made.pictures()
    files, whole = [picture.file for picture in pictures], same_pixels(pictures)
    found: dict[str, tuple[list[Found], list[Found]]] = {}
    for side in sides:
        made.tell(f"looking at what {side.name} finds")
        found[side.name] = side.run(whole, 1)[0], side.run(files, 1)[0]
    ap = {name: accuracy(timed, pictures) for name, (_, timed) in found.items()}
    result = {}
    for side in sides:
        same, timed = (agree(mine, other) for mine, other in zip(found[side.name], found[EAGER], strict=True))
        check(side.name, side.precision, same, made.setting.min_mask_iou)
        check_counts(timed, made.setting.count_tolerance)
        result[side.name] = {
            "precision": side.precision,
            "cuda_graph": side.cuda_graph,
            "same_pixels": [dataclasses.asdict(pair) for pair in same],
            "matched": sum(p.matched for p in same) / max(1, sum(max(p.ours, p.theirs) for p in same)),
            "ap": ap[side.name],
            "ap_lost": {kind: ap[EAGER][kind] - ap[side.name][kind] for kind in KINDS},
        }
    return result


def run(
    made: MadeModel, device: Device, rounds: Mapping[int, int], without: Sequence[str], *, quick: bool, tell: Tell
) -> dict[str, Any]:
    """Build the sides, check, time, measure memory; returns what is behind the head."""
    absent = {**dict.fromkeys(without, "by the option --without"), **left_out(device, quick=quick)}
    names = [name for name in (*OURS, *THEIRS) if name != TRITON and name not in absent]
    pictures = made.pictures()
    files = [picture.file for picture in pictures]
    before = gpu_memory_mib() if device == "cuda" else 0.0
    with tempfile.TemporaryDirectory(prefix="maskline-compare-") as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        tell("starting the server")
        served, url = stack.enter_context(triton(made, device, IN_FLIGHT[device], folder))
        most = max(served.at_once)
        served.run(list(itertools.islice(itertools.cycle(files), most)), most)
        memory: dict[str, Any] = {
            TRITON: gpu_memory_mib() - before
            if device == "cuda"
            else {process.name: process.peak_mib for process in server_memory(url)}
        }
        sides = [served]
        for name in names:
            place = folder / str(len(sides))
            place.mkdir()
            sides.append(stack.enter_context(in_process(name, made, device, IN_PROCESS, place)))
        found = answers_of(sides, made)
        peer = made.peer()
        work = statistics.mean(gflop(lambda file=file: detect(peer, file)) for file in files)  # type: ignore[misc]
        limits = machine.peaks(device, {side.precision for side in sides})
        clocks = machine.clocks(device)
        tell("timing")
        for at_once in IN_FLIGHT[device]:
            timed = time_in_turn(sides, files, at_once, warmup=1, rounds=rounds.get(at_once, 3), tell=tell)
            for name, each in timed.items():
                figures = each.to_dict(work, limits[found[name]["precision"]])
                found[name].setdefault("runs", {})[str(at_once)] = figures
        tell("timed; measuring memory")
    for name in names:
        memory[name] = peak_mib(name, made, device)
    for name, peak in memory.items():
        found[name]["peak_mib"] = peak
    return {
        "benchmark": "ResNet-50-FPN, JPEG in, COCO RLE out",
        "setting": dataclasses.asdict(made.setting),
        "images": [[*picture.picture.shape[:2], len(picture.boxes)] for picture in pictures],
        "gflop": work,
        "gemm_gflop_s": limits,
        "clocks": clocks,
        "sides": found,
        "left_out": absent,
    }


def main(
    device: Annotated[Device, typer.Option(help="Where the networks run.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Counted images of each side, one at a time.")] = 10,
    batches: Annotated[int, typer.Option(min=1, help="Counted batches of eight of each side.")] = 3,
    size: Annotated[
        Size | None, typer.Option(help="Of pictures and canvas; full: 800x1344, on a GPU; half: 416x672, on a CPU.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run: size quick, and few rounds.")] = False,
    made: Annotated[Path, typer.Option(help="Folder of the made weights, kept for the next run.")] = MADE,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    without: Annotated[
        list[str] | None, typer.Option(help=f"A side to leave out; {COMPILED!r} compiles for minutes.")
    ] = None,
    note: Annotated[str, typer.Option(help="What a reader must know of the machine; it goes to the page.")] = "",
    peak_of: Annotated[str, typer.Option("--peak-of", hidden=True)] = "",
) -> None:
    """Compare ours, through Triton and without, with torchvision's forms, on a CPU or a GPU.

    Example: python -m maskline_bench.compare --device cpu --json out/compare.json
    """
    chosen: Size = "quick" if quick else size or ("full" if device == "cuda" else "half")
    if peak_of:
        print_peak(peak_of, made_model(made, chosen, lambda line: None), device)
        return
    if quick:
        rounds, batches = 2, 1
    console = Console(width=None if sys.stdout.isatty() else 160)  # a table of ten columns
    with in_one_line("compare"):
        unknown = set(without or ()) - {*OURS, *THEIRS} | set(without or ()) & {TRITON, EAGER}
        if unknown:
            names = ", ".join(name for name in (*OURS, *THEIRS) if name not in (TRITON, EAGER))
            raise BenchmarkError(f"--without: got {', '.join(sorted(unknown))}, expected one of: {names}")
        first = head(device)
        with console.status("making weights") as status:
            model, numbers = made_model(made, chosen, status.update), {1: rounds, 8: batches}
            found = run(model, device, numbers, without or (), quick=quick, tell=status.update)
    result = {**first, "quick": quick, "note": note, **found}
    show(console, result)
    if json_file is not None:
        write_json(json_file, result)


if __name__ == "__main__":
    typer.run(main)
