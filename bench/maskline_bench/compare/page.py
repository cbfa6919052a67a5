"""docs/compare.md and its plots, of the comparison's results in docs/benchmarks.

Run: make compare-page
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from maskline_train.files import replace_file

from maskline_bench.compare.plot import plot
from maskline_bench.compare.show import figure_text, peak_text
from maskline_bench.compare.sides import AUTOCAST, COMPILED, EAGER, IN_PROCESS, TRITON

DOCS = Path(__file__).parents[3] / "docs"
HEAD = f"""# Ours and the peers: JPEG in, RLE out

*`make compare-page` writes this page, of the files that `make compare DEVICE=cpu|cuda
JSON=docs/benchmarks/compare_....json` wrote.*

One Mask R-CNN with ResNet-50-FPN, the same weights on every side, the same JPEG files, which lie, stand and are
square in turn. Decoding, resizing, the network, pasting and run lengths are inside the time. All sides take turns in
one run: A B A B.

| side | what it is |
|---|---|
| {TRITON} | client, gRPC, a real Triton server, the ensemble `maskrcnn`; "at once" are requests in flight |
| {IN_PROCESS} | the same steps without a server; "at once" is a batch, as for all that follow |
| {EAGER} | torchvision's model as it comes, its paste, pycocotools |
| {AUTOCAST} | the same under autocast: fp16 on a GPU, bf16 on a processor that computes it |
| {COMPILED} | the same, trunk by `torch.compile` with dynamic shapes; under autocast on a GPU |

Before anything is timed every side of float32 has to find the same objects in the same pixels as torchvision (97 %,
by class and IoU 0.9). "Matched" is that share, "AP lost" is torchvision eager's mask AP less the side's, in points,
on pictures whose objects are drawn. "Of GEMM peak" is the network's arithmetic a second over that of a matrix product
in the side's type in the same run. Memory is the peak of a process that runs the side alone, of a server the sum of
its processes. The weights are made, as none can be fetched: a random trunk, and heads that were taught to find
ellipses on photographs. Nobody sets clocks; no side replays a CUDA graph unless its row says so. A time is for
reading, never for passing or failing.
"""


def page(files: list[Path]) -> str:
    """The page, of the results in the order given."""
    return "\n".join((HEAD, *(_section(file, json.loads(file.read_text("utf-8"))) for file in files)))


def _section(file: Path, result: dict[str, Any]) -> str:
    machine, setting = result["machine"], result["setting"]
    canvas = setting["canvas"]
    where = result["gpu"]["machine"]["gpu"] if "gpu" in result else f"{machine['cpu']}, {machine['cores']} cores"
    sizes = ", ".join(f"{height}x{width} px ({objects})" for height, width, objects in result["images"])
    peaks = ", ".join(f"{value:.0f} GFLOP/s in {name}" for name, value in result["gemm_gflop_s"].items())
    clocks = ", ".join(f"{name} {value}" for name, value in result["clocks"].items()) or "not known"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    rows = [row for name, side in result["sides"].items() for row in _rows(name, side, result["sides"][EAGER])]
    lines = [
        f"## {where}, {result['when'][:10]}\n",
        f"Canvas {canvas[0]}x{canvas[1]}, {setting['proposals']} proposals, {setting['detections']} detections; "
        f"pictures (and drawn objects): {sizes}. {result['gflop']:.0f} GFLOP an image; GEMM peak {peaks}; clocks as "
        f"found: {clocks}. {result.get('note', '')}\n",
        f"![Images a second and latencies of each side](pictures/{file.stem}.svg)\n",
        "| side | type | at once | images/s | times eager | p50 ms | p99 ms | of GEMM peak | matched | AP lost | MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        *(f"Left out: {name}: {reason}.  " for name, reason in result["left_out"].items()),
        f"\nRaw: [{file.name}](benchmarks/{file.name}); {versions}.\n",
    ]
    return "\n".join(lines)


def _rows(name: str, side: dict[str, Any], eager: dict[str, Any]) -> list[str]:
    """A row for each number at once; what does not depend on it stands in the first."""
    found = []
    for index, (at_once, run) in enumerate(side["runs"].items()):
        other = eager["runs"].get(at_once)
        times = f"{run['images_per_second'] / other['images_per_second']:.2f}" if other else "-"
        graph = ", CUDA graph" if side["cuda_graph"] else ""
        of_side = (f"{side['matched']:.1%}", f"{side['ap_lost']['segm']:.1f}", peak_text(side["peak_mib"]))
        cells = (
            *((name, side["precision"] + graph) if index == 0 else ('"', '"')),
            at_once, f"{run['images_per_second']:.3g}", times, figure_text(run["p50_ms"]), figure_text(run["p99_ms"]),
            f"{run['share_of_gemm_peak']:.0%}", *(of_side if index == 0 else ('"', '"', '"')),
        )  # fmt: skip
        found.append(f"| {' | '.join(cells)} |")
    return found


def main(
    docs: Annotated[Path, typer.Option(help="Folder with benchmarks/compare_*.json, where page and plots go.")] = DOCS,
) -> None:
    """Write docs/compare.md and docs/pictures/compare_*.svg.

    Example: python -m maskline_bench.compare.page
    """
    files = sorted((docs / "benchmarks").glob("compare_*.json"))
    (docs / "pictures").mkdir(exist_ok=True)
    for file in files:
        replace_file(docs / "pictures" / f"{file.stem}.svg", plot(json.loads(file.read_text("utf-8")), "svg"))
    replace_file(docs / "compare.md", page(files).encode())


if __name__ == "__main__":
    typer.run(main)
