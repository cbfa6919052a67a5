"""Masks to COCO RLE on the CPU (C4): 100 masks of 28 x 28 to compressed texts, ours, torchvision's and numpy's in turn.

torchvision's side is what its users run: paste_masks_in_image, >= 0.5, and pycocotools for each mask. The numpy side is
the server's own where it has no compiled library (models/postprocess/1/rle.py). Masks are soft blobs with two to five
lobes; boxes have sides from 5 % of the image's to all of it, uniform by logarithm, or (`whole`) each covers the image
but for a thousandth, which is the most work for us and no more for torchvision.

The gate: ours must have the very bytes of the reference paste rule, encoded by pycocotools, and the numpy side too: no
pixel differs. torchvision pastes by another rule (boxes rounded to whole pixels, masks resized to them with the edge
repeated), so its masks are only compared by IoU.

Run: make bench-ops, or PYTHONPATH=bench python bench/host_ops/mask_rle.py --json mask_rle.json
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pycocotools.mask
import torch
import typer
from maskline_host import library
from maskline_host.mask_rle import encode
from maskline_serve.assemble import sources
from maskline_train.model.paste import encode_masks
from measure import BenchmarkError, Timing, describe, interleave, print_head, timing_table, write_json
from rich.console import Console
from torchvision.models.detection.roi_heads import paste_masks_in_image

OURS, NUMPY, TORCHVISION = "maskline", "maskline, numpy", "torchvision"
NUMBER, SIDE = 100, 28
SMALLEST = 0.05  # of the image's side, a box' side
# Not all of the image: cells and pixels would meet at ties, which the paste of evaluation rounds either way.
WHOLE = 0.999
CASES = (((480, 640), "mixed"), ((800, 1333), "mixed"), ((480, 640), "whole"), ((800, 1333), "whole"))
TARGETS = {"mixed": 350.0}
LEAST_IOU = 0.9  # a mean: boxes rounded to whole pixels show in small objects
PAUSE_S = 0.05  # torch's idle threads spin for some milliseconds: no side pays for another's

Masks = npt.NDArray[np.uint8]
Boxes = npt.NDArray[np.float32]


def make_objects(size: tuple[int, int], boxes: str, seed: int) -> tuple[Masks, Boxes]:
    """Masks [N,M,M] and boxes [N,4] xyxy px of an image of (height, width)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    lobes, turn = (values[:, None, None] for values in (rng.integers(2, 6, NUMBER), rng.uniform(0, 6.28, NUMBER)))
    radius = 0.75 + 0.15 * np.sin(lobes * np.arctan2(y, x) + turn)
    masks = np.rint(255 / (1 + np.exp(12 * (np.hypot(y, x) - radius)))).astype(np.uint8)
    whole = np.array(size[::-1], np.float64)
    sides = whole * (SMALLEST ** rng.uniform(0, 1, (NUMBER, 2)) if boxes == "mixed" else WHOLE)
    low = rng.uniform(0, 1, (NUMBER, 2)) * (whole - sides)
    return masks, np.concatenate([low, low + sides], axis=1).astype(np.float32)


def numpy_encoder() -> ModuleType:
    """The server's rle.py, which belongs to no package."""
    models, _ = sources()
    spec = importlib.util.spec_from_file_location("postprocess_rle", models / "postprocess" / "1" / "rle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_sides(masks: Masks, boxes: Boxes, size: tuple[int, int], threads: int) -> dict[str, Callable[[], list[bytes]]]:
    """What is timed: each gives N texts."""
    rle = numpy_encoder()
    probabilities, places = torch.from_numpy(masks.astype(np.float32) / 255)[:, None], torch.from_numpy(boxes)

    @torch.inference_mode()
    def by_torchvision() -> list[bytes]:
        pasted = paste_masks_in_image(probabilities, places, size, padding=1)
        pixels = (pasted >= 0.5)[:, 0].numpy().astype(np.uint8)
        return [pycocotools.mask.encode(np.asfortranarray(mask))["counts"] for mask in pixels]

    return {
        OURS: lambda: encode(masks, boxes, size, threads),
        TORCHVISION: by_torchvision,
        NUMPY: lambda: [rle.encode_mask(mask, box, size) for mask, box in zip(masks, boxes, strict=True)],
    }


def check_agreement(
    what: str, masks: Masks, boxes: Boxes, size: tuple[int, int], sides: dict[str, Callable[[], list[bytes]]]
) -> float:
    """Mean IoU of torchvision's masks with those of the rule.

    Raises:
        BenchmarkError: ours or numpy's are not the rule's bytes, or torchvision's are other objects.
    """
    expected = [entry["counts"] for entry in encode_masks(masks, boxes, size)]
    for name in (OURS, NUMPY):
        wrong = [i for i, (text, wanted) in enumerate(zip(sides[name](), expected, strict=True)) if text != wanted]
        if wrong:
            raise BenchmarkError(f"{what}: {name}: masks {wrong[:5]} are not those of paste and pycocotools")
    pairs = zip(sides[TORCHVISION](), expected, strict=True)
    entries = [[{"size": list(size), "counts": counts} for counts in pair] for pair in pairs]
    iou = float(np.mean([pycocotools.mask.iou([a], [b], [0])[0, 0] for a, b in entries]))
    if iou < LEAST_IOU:
        raise BenchmarkError(f"{what}: torchvision's masks have a mean IoU of {iou:.3f}, expected {LEAST_IOU} or more")
    return iou


def run_case(
    size: tuple[int, int], boxes: str, *, warmup: int, rounds: int, threads: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Check that the sides agree, then time them in turn."""
    masks, places = make_objects(size, boxes, seed=0)
    sides = make_sides(masks, places, size, threads)
    iou = check_agreement(f"{size[0]}x{size[1]} {boxes}", masks, places, size, sides)
    calls = {name: lambda _, side=side: side() for name, side in sides.items()}
    timings = interleave(calls, warmup=warmup, rounds=rounds, tell=tell, pause_s=PAUSE_S)
    result = {
        "case": "C4",
        "what": f"{size[0]}x{size[1]}, {boxes}",
        "masks": NUMBER,
        "mean_box_width_px": float((places[:, 2] - places[:, 0]).mean()),
        "text_bytes": sum(map(len, sides[OURS]())),
        "pixels_that_differ_from_the_rule": 0,
        "mean_iou_of_torchvision": iou,
        "vector_instructions": "AVX-512" if library.limit_simd(1) else "none",
        "timings": {
            name: {**timing.to_dict(), "p99_s": float(np.percentile(timing.seconds, 99))}
            for name, timing in timings.items()
        },
        "ratio_of_medians": {name: timings[name].median / timings[OURS].median for name in (TORCHVISION, NUMPY)},
        "target": TARGETS.get(boxes),
    }
    return result, timings


def run(
    cases: Sequence[tuple[tuple[int, int], str]], *, warmup: int, rounds: int, threads: int, console: Console
) -> list[dict[str, Any]]:
    """Run and print all cases; JSON-ready results."""
    results = []
    for size, boxes in cases:
        result, timings = run_case(size, boxes, warmup=warmup, rounds=rounds, threads=threads, tell=lambda line: None)
        columns = {"p99 s": [f"{entry['p99_s']:.4g}" for entry in result["timings"].values()]}
        title = f"C4: {NUMBER} masks to RLE, {result['what']}: {result['text_bytes'] / 1e3:.0f} kB of text"
        console.print(timing_table(title, timings, columns))
        for name, ratio in result["ratio_of_medians"].items():
            aim = f", target {result['target']:g}" if name == TORCHVISION and result["target"] else ""
            console.print(f"[bold]C4 {result['what']}: {ratio:.0f} times as fast as {name}[/bold] (medians{aim})")
        results.append(result)
    return results


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Counted calls of each side.")] = 20,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted calls of each side.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each side at most; ours takes fewer for less.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Time our run-length encoding of masks on the CPU against torchvision with pycocotools, in turn.

    Example: PYTHONPATH=bench python bench/host_ops/mask_rle.py --rounds 20 --json mask_rle.json
    """
    console = Console()
    torch.set_num_threads(threads)
    try:
        head = describe(threads)
        print_head(console, "Masks to COCO RLE on the CPU", head)
        results = run(CASES, warmup=warmup, rounds=rounds, threads=threads, console=console)
    except BenchmarkError as error:
        Console(stderr=True).print(f"bench-ops: {error}", style="red", soft_wrap=True)
        raise typer.Exit(1) from error
    if json_file is not None:
        write_json(json_file, {**head, "cases": results})


if __name__ == "__main__":
    typer.run(main)
