"""What the serving benchmark shows on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from maskline_bench.measure import Timing, timing_table
from maskline_bench.serving.gate import Agreement, mean_mask_iou

OURS, THEIRS = "maskline through Triton", "torchvision eager"


def print_result(console: Console, result: dict[str, Any], timings: dict[str, Timing]) -> None:
    """Print what `run` found."""
    limit, work, rle = result["machine"]["gemm_fp32_gflop_s"], result["gflop"], result["rle_memory"]
    setting, same, timed = result["setting"], result["gate_same_pixels"], result["gate_timed"]
    console.print(
        f"{len(setting['jpeg_kilobytes'])} photographs of {setting['image'][0]}x{setting['image'][1]} px, canvas "
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
    console.print(
        f"[bold]{OURS}: {result['ratio_of_medians']:.3f} times the images a second of {THEIRS}[/bold] "
        f"(medians; by rounds {result['median_of_ratios']:.3f}); {work:.0f} GFLOP an image"
    )
    memory = ", ".join(f"{process['name']} {process['peak_mib']:.0f}" for process in result["server_processes"])
    console.print(f"peak memory, MiB: {memory}; {THEIRS} {result['torchvision_peak_mib']:.0f}")
    console.print(
        f"RLE of {rle['objects']} objects on {rle['picture']}: adds {rle['added_mib']:.1f} MiB to the "
        f"{rle['resident_before_mib']:.0f} MiB of postprocess (limit {rle['limit_mib']:.1f})"
    )
