"""A training step of Mask R-CNN ResNet-50-FPN, part by part: when the host is at each, and when a GPU is.

The step is the one that `maskline-train fit` makes, on a batch of its loader, whose files are those of bench-data; the
weights are random and well-behaved. On a CPU float32 by one thread, in milliseconds of the processor: what others do on
the machine is no part of a step. On a GPU bf16, and not compiled, since compiled parts are one with their hooks. There
the losses are read after every step, and a step begins with nothing under way: the device's lane shows what it
computes, not how little it waits in a run.

Run: make bench-timeline, or
python -m maskline_bench.step_timeline --json docs/benchmarks/step_timeline.json --svg docs/pictures/step_timeline.svg
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from maskline_train.data.loader import Batch
from maskline_train.distributed import Processes
from maskline_train.files import replace_file
from maskline_train.training.step import make_gradients, train_step
from rich.console import Console
from rich.table import Table

from maskline_bench.device_ops.timing import describe as describe_gpu
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import describe, print_head
from maskline_bench.result_file import write_json
from maskline_bench.step_timeline.made import made_batch, made_training
from maskline_bench.step_timeline.parts import PARTS, READ, Clock, lanes_of, spent, timed_parts
from maskline_bench.step_timeline.plot import plot

Device = Literal["cpu", "cuda"]


def measure(batch: Batch, device: torch.device, *, warmup: int, rounds: int, tell: Callable[[str], None]) -> list[Any]:
    """`rounds` steps on one batch, each as `Clock.stop` gives it, after `warmup` that nobody looks at."""
    state, training = made_training(batch, device)
    torch.backends.cudnn.benchmark = training.cudnn_benchmark and device.type == "cuda"
    batch, processes, clock = batch.to(device), Processes(0, 1, device), Clock(device)
    compute = make_gradients(state.model, state, training, processes)
    found = []
    for number in range(warmup + rounds):
        with timed_parts(state, clock):
            clock.start()
            report = train_step(compute, state, batch, training, processes)
            with clock.range(READ, "tolist"):
                numbers = report.numbers.tolist()
            step = clock.stop()
        state.step += 1
        found.append({**step, "loss": numbers[0]})
        tell(f"step {number + 1} of {warmup + rounds}")
    return found[warmup:]


def masks_of(batch: Batch) -> dict[str, int]:
    """Bytes of the batch's masks: what lies in crops, what travels with the padding, what whole canvases would be."""
    truth = batch.truth
    if truth is None:
        raise BenchmarkError("batch: got one without objects, expected one of a training loader")
    windows, (height, width) = truth.windows.long(), batch.canvas.shape[1:3]
    travels = (truth.pixels, truth.starts, truth.windows)
    return {
        "objects": int(truth.valid.sum()),
        "rows": truth.valid.numel(),
        "crops_bytes": int((windows[..., 2] * windows[..., 3]).sum()),
        "travelling_bytes": sum(column.numel() * column.element_size() for column in travels),
        "whole_canvases_bytes": int(truth.valid.sum()) * height * width,
    }


def part_ms(step: Any, lane: str) -> dict[str, float]:
    """Ms of each part in one step."""
    return {part: round(spent(step["ranges"], part, lane), 3) for part in PARTS}


def run(
    device: torch.device, shorter_side: int, batch_size: int, *, warmup: int, rounds: int, note: str, console: Console
) -> dict[str, Any]:
    """Make the step, time it and print; returns the JSON-ready result."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    head = {**describe(torch.get_num_threads()), "device": device.type}
    if device.type == "cuda":
        head["gpu"] = describe_gpu()
    print_head(console, "a training step, part by part", head)
    batch = made_batch(shorter_side, batch_size)
    with console.status("timing") as status:
        steps = measure(batch, device, warmup=warmup, rounds=rounds, tell=status.update)
    drawn = sorted(steps, key=lambda step: float(step["host_ms"]))[(len(steps) - 1) // 2]
    result = {
        **head,
        "benchmark": "parts of a training step of ResNet-50-FPN",
        "setting": {
            "canvas": list(batch.canvas.shape[1:3]), "batch": batch_size, "precision":
            "bf16" if device.type == "cuda" else "float32", "warmup_steps": warmup,
        },
        "note": note,
        "masks": masks_of(batch),
        "steps_ms": [step["host_ms"] for step in steps],
        "losses": [step["loss"] for step in steps],
        "parts": {lane: part_ms(drawn, lane) for lane in lanes_of(drawn["ranges"])},
        "timeline": drawn,
    }  # fmt: skip
    show(console, result)
    return result


def show(console: Console, result: dict[str, Any]) -> None:
    """The parts, and the bytes of masks."""
    setting, masks, parts = result["setting"], result["masks"], result["parts"]
    total = result["timeline"]["host_ms"]
    height, width = setting["canvas"]
    console.print(f"batch {setting['batch']}, canvas {height}x{width}, {setting['precision']}; {result['note']}")
    table = Table(title=f"one step: {total:.0f} ms, the middle one of {len(result['steps_ms'])}", title_justify="left")
    for heading in ("part", *(f"{lane.removesuffix('_ms')} ms" for lane in parts)):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part in PARTS:
        table.add_row(part, *(f"{lane[part]:.4g}" for lane in parts.values()))
    rest = total - sum(parts["host_ms"].values())
    table.add_row("between them", f"{rest:.4g}", *([""] * (len(parts) - 1)))
    console.print(table)
    console.print(
        f"masks of {masks['objects']} objects: {masks['crops_bytes']} bytes in their crops, "
        f"{masks['travelling_bytes']} travel, whole canvases would be {masks['whole_canvases_bytes']}"
    )


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run of seconds on a tiny canvas.")] = False,
    device: Annotated[Device, typer.Option(help="cpu: one thread; cuda: bf16, and the device's own lane.")] = "cpu",
    shorter_side: Annotated[int, typer.Option(min=32, help="Of the pictures, px; they are 3 x 4.")] = 480,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Counted steps; the one of median length is drawn.")] = 5,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted steps.")] = 2,
    note: Annotated[str, typer.Option(help="What a reader should know of the machine.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Draw the step to this file.")] = None,
) -> None:
    """Time the parts of a training step, and draw when each of them runs.

    Example: python -m maskline_bench.step_timeline --json out/step.json --svg out/step.svg
    """
    if quick:
        shorter_side, batch, rounds, warmup = 96, 1, 1, 1
    with in_one_line("bench-timeline"):
        if device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError("got no GPU, expected one; nothing was timed")
        where, console = torch.device(device), Console()
        result = run(where, shorter_side, batch, warmup=warmup, rounds=rounds, note=note, console=console)
    if json_file is not None:
        write_json(json_file, {**result, "quick": quick})
    if svg is not None:
        svg.parent.mkdir(parents=True, exist_ok=True)
        replace_file(svg, plot(result, "svg"))


if __name__ == "__main__":
    typer.run(main)
