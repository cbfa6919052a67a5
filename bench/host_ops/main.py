"""The ops on the CPU, one table after the other: RoIAlign (C1, C2), proposals (C3), masks to run lengths (C4).

Each script beside this one measures its op alone, with more to choose from.

Run: make bench-ops, or PYTHONPATH=bench python bench/host_ops/main.py --json docs/benchmarks/host_ops.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import mask_rle
import proposal_nms
import roi_align
import torch
import typer
from measure import BenchmarkError, describe, print_head, write_json
from rich.console import Console


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Counted calls of each side.")] = 15,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted calls of each side.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each side.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Time our ops on the CPU against torchvision, ONNX Runtime and pycocotools, in turn.

    Example: PYTHONPATH=bench python bench/host_ops/main.py --rounds 15 --json host_ops.json
    """
    console = Console()
    torch.set_num_threads(threads)
    try:
        head = describe(threads)
        print_head(console, "Ops on the CPU", head)
        results = [
            *roi_align.run(warmup=warmup, rounds=rounds, threads=threads, console=console),
            *proposal_nms.run(("scene", "noise"), warmup=warmup, rounds=rounds, threads=threads, console=console),
            *mask_rle.run(mask_rle.CASES, warmup=warmup, rounds=rounds, threads=threads, console=console),
        ]
    except BenchmarkError as error:
        Console(stderr=True).print(f"bench-ops: {error}", style="red", soft_wrap=True)
        raise typer.Exit(1) from error
    if json_file is not None:
        write_json(json_file, {**head, "cases": results})


if __name__ == "__main__":
    typer.run(main)
