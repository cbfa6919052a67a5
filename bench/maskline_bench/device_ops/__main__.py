"""The ops on a GPU: RoIAlign and its backward, proposals, detections, run lengths; ours and torchvision's in turn.

Our calls are replays of a CUDA graph (which also shows that they never synchronise or allocate), the peers are called
as they are: their NMS cannot be captured. Nothing is timed before every side has passed its check.

Run: make bench-device, or python -m maskline_bench.device_ops --build build/plugins
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from maskline_host.library import CUDA_FILE
from rich.console import Console
from rich.table import Table

from maskline_bench.device_ops.backward import backward_case
from maskline_bench.device_ops.cases import (
    OURS,
    Case,
    Size,
    detections_case,
    masks_case,
    proposals_case,
    roi_align_case,
)
from maskline_bench.device_ops.library import EMULATOR_FILE, DeviceOps
from maskline_bench.device_ops.timing import captured, describe, interleave
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.result_file import write_json

# Microseconds an image by the images of a call, on one H200: the figures of docs/benchmarks/README.md.
TARGETS_US = {"G3": {1: 45.0, 8: 35.0}, "G4": {1: 25.0, 8: 15.0}, "G5": {1: 40.0}, "G6": {1: 25.0}, "G7": {1: 40.0}}
SMALL = Size(height=96, width=160, proposals=24, channels=16)


def make_cases(ops: DeviceOps, size: Size, where: str, batches: tuple[int, ...]) -> list[Case]:
    """G3 to G6 and G14 for each batch, and G7."""
    found = []
    for batch in batches:
        box, mask, proposals, detections = (TARGETS_US[name].get(batch) for name in ("G3", "G4", "G5", "G6"))
        found.append(roi_align_case(ops, size, where, batch, size.proposals, 7, box))
        found.append(roi_align_case(ops, size, where, batch, min(100, size.proposals), 14, mask))
        found.append(proposals_case(ops, size, where, batch, proposals))
        found.append(detections_case(ops, size, where, batch, detections))
        found.append(backward_case(ops, size, where, batch, min(512, size.proposals), 7))
    return [*found, masks_case(ops, size, where, TARGETS_US["G7"][1])]


def check(case: Case) -> dict[str, float]:
    """The largest difference of each side of ours to the peer.

    Raises:
        BenchmarkError: one is larger than it may be.
    """
    found = {}
    for name, (apart, limit) in case.gates.items():
        found[name] = apart()
        if not found[name] <= limit:
            raise BenchmarkError(
                f"{case.name}, {name}: got a difference of {found[name]:g}, expected at most {limit:g}"
            )
    return found


def time_case(case: Case, copy_gb_s: float, *, warmup: int, rounds: int) -> dict[str, Any]:
    """Timings of all sides, an image; ratios to our first side; share of the machine's copy rate."""
    sides = {name: captured(run) if name.startswith(OURS) else run for name, run in case.sides.items()}
    timings = interleave(sides, warmup=warmup, rounds=rounds)
    ours = next(iter(timings))
    return {
        "case": case.name,
        "images": case.images,
        "target_us_an_image": case.target_us,
        "us_an_image": {name: timing.median / case.images for name, timing in timings.items()},
        "times_as_fast": {name: timing.median / timings[ours].median for name, timing in timings.items()},
        "share_of_copy_rate": case.bytes_moved / timings[ours].median / 1e3 / copy_gb_s,
        "bytes_moved": case.bytes_moved,
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
    }


def show(console: Console, results: list[dict[str, Any]]) -> None:
    """One line a side."""
    table = Table(title="Ops on the GPU, median of an image", title_justify="left")
    for heading in ("case", "side", "µs", "p99 µs of a call", "ours is faster by", "share of copy rate", "target µs"):
        table.add_column(heading, justify="left" if heading in ("case", "side") else "right")
    for result in results:
        for row, (name, value) in enumerate(result["us_an_image"].items()):
            target = result["target_us_an_image"]
            table.add_row(
                result["case"] if row == 0 else "",
                name,
                f"{value:.1f}",
                f"{result['timings'][name]['p99_us']:.1f}",
                "" if row == 0 else f"{result['times_as_fast'][name]:.1f} x",
                f"{result['share_of_copy_rate']:.0%}" if row == 0 else "",
                f"{target:g}" if row == 0 and target else "",
            )
    console.print(table)


def main(
    build: Annotated[Path, typer.Option(help="Folder of the build: `make plugins`.")] = Path("build/plugins"),
    rounds: Annotated[int, typer.Option(min=1, help="Counted calls of each side.")] = 200,
    warmup: Annotated[int, typer.Option(min=1, help="Uncounted calls of each side.")] = 20,
    batch: Annotated[list[int], typer.Option(min=1, help="Images of a call; may be given several times.")] = [1, 8],  # noqa: B006
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only the checks, at small sizes; without a GPU in the emulator.")
    ] = False,
) -> None:
    """Time our ops on the GPU against torchvision's, in turn.

    Example: make bench-device JSON=docs/benchmarks/device_ops_h200.json
    """
    console = Console()
    if not dry_run and not torch.cuda.is_available():
        Console(stderr=True).print("bench-device: got no GPU, expected one; nothing was timed", style="red")
        raise typer.Exit(1)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    with in_one_line("bench-device"):
        ops = DeviceOps(build / (CUDA_FILE if where == "cuda" else EMULATOR_FILE))
        cases = make_cases(ops, SMALL if dry_run else Size(), where, tuple(batch))
        differences = {case.name: check(case) for case in cases}
    for name, found in differences.items():
        console.print(f"{name}: " + ", ".join(f"{side} {value:.2g}" for side, value in found.items()), highlight=False)
    if dry_run:
        console.print("dry run: all checks passed, nothing timed")
        return
    head = describe()
    console.print(head["machine"], head["versions"], f"G13: a copy at {head['machine']['copy_gb_s']} GB/s")
    results = [time_case(case, head["machine"]["copy_gb_s"], warmup=warmup, rounds=rounds) for case in cases]
    show(console, results)
    if json_file is not None:
        write_json(json_file, {**head, "differences": differences, "cases": results})


if __name__ == "__main__":
    typer.run(main)
