"""The ops on the CPU, one table after the other: RoIAlign (C1, C2), proposals (C3), masks to run lengths (C4).

Each module beside this one knows its op: inputs, sides, checks, targets.

Run: make bench-ops, or python -m maskline_bench.host_ops --op mask_rle --json mask_rle.json
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from maskline_bench.errors import in_one_line
from maskline_bench.host_ops import mask_rle, proposal_nms, roi_align
from maskline_bench.measure import describe, print_head
from maskline_bench.result_file import write_json


class Op(enum.StrEnum):
    """What can be measured."""

    ROI_ALIGN = "roi_align"
    PROPOSAL_NMS = "proposal_nms"
    MASK_RLE = "mask_rle"


RUN = {Op.ROI_ALIGN: roi_align.run, Op.PROPOSAL_NMS: proposal_nms.run, Op.MASK_RLE: mask_rle.run}


def main(
    op: Annotated[list[Op], typer.Option(help="Measure this op; may be given several times.")] = list(Op),  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Counted calls of each side.")] = 15,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted calls of each side.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each side.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Time our ops on the CPU against torchvision, ONNX Runtime and pycocotools, in turn.

    Example: python -m maskline_bench.host_ops --rounds 15 --json host_ops.json
    """
    console = Console()
    torch.set_num_threads(threads)
    with in_one_line("bench-ops"):
        head = describe(threads)
        print_head(console, "Ops on the CPU", head)
        results = []
        for chosen in op:
            results += RUN[chosen](warmup=warmup, rounds=rounds, threads=threads, console=console)
    if json_file is not None:
        write_json(json_file, {**head, "cases": results})


if __name__ == "__main__":
    typer.run(main)
