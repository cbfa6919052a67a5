"""A training step of Mask R-CNN ResNet-50-FPN by batch size: ours as `maskline-train fit` runs it, and torchvision's.

Same weights, same photographs and targets on the same canvas, no loading and no resizing on either side, one process,
in turn. T0: float32 on a CPU. T1: bf16 on a GPU, torchvision's in float32 (its convolutions as torch sets them, in
TF32), under autocast, and in channels_last too.

Run: make bench-train, or python -m maskline_bench.train_step --json docs/benchmarks/train_step.json
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from maskline_host.library import CUDA_FILE
from maskline_train.model.ops.kernels import kernels_for
from rich.console import Console

from maskline_bench.device_ops.timing import describe as describe_gpu
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import describe, gemm_gflop_s, print_head
from maskline_bench.result_file import write_json
from maskline_bench.train_step.counting import print_peak
from maskline_bench.train_step.measuring import measure
from maskline_bench.train_step.setting import BATCHES, OURS, PEERS, SIDES, STEPS, Device, Setting, left_out
from maskline_bench.train_step.show import show


def run(
    settings: Sequence[Setting],
    without: Sequence[str],
    *,
    quick: bool,
    warmup: int,
    rounds: int,
    threads: int,
    console: Console,
) -> dict[str, Any]:
    """Measure each setting, all of one device; print, and return the JSON-ready result."""
    torch.set_num_threads(threads)
    device = settings[0].device
    head = {**describe(threads), "device": device}
    if device == "cuda":
        head["gpu"] = describe_gpu()
        name, limit = "T1 training step, ResNet-50-FPN, bf16", gemm_gflop_s(device, torch.bfloat16)
    else:
        name, limit = "T0 training step, ResNet-50-FPN, float32", head["machine"]["gemm_fp32_gflop_s"]
    print_head(console, name, head)
    absent = {**dict.fromkeys(without, "by the option --without"), **left_out(device, quick=quick)}
    names = [side for side in SIDES if side not in absent]
    with console.status("making weights") as status:
        batches = [
            measure(setting, names, warmup=warmup, rounds=rounds, threads=threads, limit=limit, tell=status.update)
            for setting in settings
        ]
    first = settings[0]
    result = {
        **head,
        "quick": quick,
        "benchmark": name,
        "setting": {
            "height": first.height, "width": first.width, "objects": first.objects, "warmup_rounds": warmup,
            "steps_a_round": STEPS[device],
        },
        "gemm_gflop_s": limit,
        "ops": CUDA_FILE if kernels_for(torch.device(device)) else "PyTorch",
        "peer": PEERS[device],
        "left_out": absent,
        "batches": batches,
    }  # fmt: skip
    show(console, result)
    return result


def check_without(without: Sequence[str], device: Device) -> None:
    """Raise BenchmarkError where a side that is to be left out is none, or is one that a run cannot be without."""
    free = [side for side in SIDES if side not in (OURS, PEERS[device])]
    unknown = sorted(set(without) - set(free))
    if unknown:
        raise BenchmarkError(f"--without: got {', '.join(map(repr, unknown))}, expected one of {free}")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run on a tiny canvas.")] = False,
    height: Annotated[int, typer.Option(min=32, help="Canvas height, a multiple of 32.")] = 800,
    width: Annotated[int, typer.Option(min=32, help="Canvas width, a multiple of 32.")] = 1088,
    batch: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Images a step, several times for several; by itself 2, on a GPU 2, 8 and 16."),
    ] = None,
    objects: Annotated[int, typer.Option(min=1, help="Made objects an image.")] = 10,
    device: Annotated[Device, typer.Option(help="cpu: float32; cuda: bf16.")] = "cpu",
    without: Annotated[list[str] | None, typer.Option(help="A side to leave out, by its name in the table.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds of each side: a step; on a GPU ten.")] = 7,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted rounds of each side.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    peak_of: Annotated[str, typer.Option("--peak-of", hidden=True)] = "",
) -> None:
    """Time a training step of ours and of torchvision's Mask R-CNN in turn.

    Example: python -m maskline_bench.train_step --height 512 --width 640 --json docs/benchmarks/train_step.json
    """
    if peak_of:
        print_peak(peak_of)
        return
    if quick:
        height, width, objects, rounds, warmup = 128, 160, 4, 2, 1
    sizes = batch or ((1,) if quick else BATCHES[device])
    console = Console(width=None if sys.stdout.isatty() else 160)  # a table of ten columns
    with in_one_line("bench-train"):
        if device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError("got no GPU, expected one; nothing was timed")
        check_without(without or (), device)
        settings = [Setting(height, width, objects, size, device) for size in dict.fromkeys(sizes)]
        result = run(
            settings, without or (), quick=quick, warmup=warmup, rounds=rounds, threads=threads, console=console
        )
    if json_file is not None:
        write_json(json_file, result)


if __name__ == "__main__":
    typer.run(main)
