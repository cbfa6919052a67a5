"""What the serving benchmark shows on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from maskline_bench.measure import Timing, timing_table
from maskline_bench.serving.gate import Agreement, mean_mask_iou

OURS, OURS_INT8, THEIRS = "maskline through Triton", "maskline through Triton, int8", "torchvision eager"


def print_result(console: Console, result: dict[str, Any], timings: dict[str, Timing]) -> None:
    """Print what `run` found."""
    limit, work, rle = result["machine"]["gemm_fp32_gflop_s"], result["gflop"], result["rle_memory"]
    setting, same, timed = result["setting"], result["gate_same_pixels"], result["gate_timed"]
    console.print(
        f"{len(setting['jpeg_kilobytes'])} pictures of {setting['image'][0]}x{setting['image'][1]} px, canvas "
        f"{setting['canvas'][0]}x{setting['canvas'][1]}, {setting['classes']} classes, "
        f"{', '.join(str(pair['ours']) for pair in timed)} objects in them; "
        "decoding, resizing, paste and RLE inside the time"
    )
    matched, total = sum(pair["matched"] for pair in same), sum(max(pair["ours"], pair["theirs"]) for pair in same)
    console.print(
        f"gate: {matched} of {total} objects match where both see the same pixels, mask IoU "
        f"{mean_mask_iou([Agreement(**pair) for pair in same]):.3f}; timed images: {sum(p['ours'] for p in timed)} and "
        f"{sum(p['theirs'] for p in timed)} objects"
    )
    console.print(
        timing_table(
            "one image",
            timings,
            {
                "images/s": [f"{1 / timing.median:.3f}" for timing in timings.values()],
                "of GEMM peak": [f"{work / timing.median / limit:.0%}" for timing in timings.values()],
            },
        )
    )
    for side, goal in ((OURS, "C7"), (OURS_INT8, "C9")):
        console.print(
            f"[bold]{goal}: {side}: {result['ratio_of_medians'][side]:.3f} times the images a second of {THEIRS}"
            f"[/bold] (medians; by rounds {result['median_of_ratios'][side]:.3f})"
        )
    console.print(f"{work:.0f} GFLOP an image")
    for score, found in result["int8_price"]["detections"].items():
        console.print(
            f"int8 against float32, the engines alone on these pictures: of "
            f"{found['counted']} detections from score {score} {found['matched']:.1%} matched, median mask IoU "
            f"{'-' if found['median_mask_iou'] is None else format(found['median_mask_iou'], '.3f')}"
        )
    _print_graphs(console, result["int8_graphs"])
    memory = ", ".join(f"{process['name']} {process['peak_mib']:.0f}" for process in result["server_processes"])
    console.print(f"peak memory, MiB: {memory}; {THEIRS} {result['torchvision_peak_mib']:.0f}")
    memory = ", ".join(f"{process['name']} {process['peak_mib']:.0f}" for process in result["int8_server_processes"])
    console.print(f"peak memory in int8, MiB: {memory}")
    console.print(
        f"RLE of {rle['objects']} objects on {rle['picture']}: adds {rle['added_mib']:.1f} MiB to the "
        f"{rle['resident_before_mib']:.0f} MiB of postprocess (limit {rle['limit_mib']:.1f})"
    )


def _print_graphs(console: Console, graphs: dict[str, dict[str, float]]) -> None:
    """The int8 graphs alone by each side that could run them, ms."""
    names = list(next(iter(graphs.values())))
    table = Table(title="int8 graphs alone, medians, ms; heads from their RoI features on", title_justify="left")
    table.add_column("side")
    for name in (*names, "all"):
        table.add_column(name, justify="right")
    for side, medians in graphs.items():
        cells = [medians[name] for name in names]
        table.add_row(side, *(f"{seconds * 1e3:.1f}" for seconds in (*cells, sum(cells))))
    console.print(table)
