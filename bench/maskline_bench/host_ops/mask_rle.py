"""Masks to COCO RLE on the CPU (C4): 100 masks of 28 x 28 to compressed texts, ours, torchvision's and numpy's in turn.

torchvision's side is what its users run: paste_masks_in_image, >= 0.5, and pycocotools for each mask. The numpy side is
the server's own where it has no compiled library (models/postprocess/1/rle.py). Masks are soft blobs with two to five
lobes; boxes have sides from 5 % of the image's to all of it, uniform by logarithm, or (`whole`) each covers the image
but for a thousandth, which is the most work for us and no more for torchvision.

The gate: ours and the numpy side's must be the same bytes, and those of the reference paste rule and pycocotools: no
pixel differs, but for the rare one whose value is within 2^-28 of one half, where the server's rule is to say
"inside". It is the rule `aligned`; torchvision pastes by `detectron` (docs/architecture.md), so its masks are only
compared by IoU.

Run: make bench-ops, or python -m maskline_bench.host_ops --op mask_rle
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pycocotools.mask
import torch
from maskline_host import library
from maskline_host.mask_rle import encode
from maskline_train.evaluation.paste import encode_masks
from rich.console import Console
from torchvision.models.detection.roi_heads import paste_masks_in_image

from maskline_bench.errors import BenchmarkError
from maskline_bench.host_ops.show import show
from maskline_bench.measure import Timing, interleave
from maskline_bench.model_files import load

OURS, NUMPY, TORCHVISION = "maskline", "maskline, numpy", "torchvision"
NUMBER, SIDE = 100, 28
SMALLEST = 0.05  # of the image's side, a box' side
WHOLE = 0.999  # not all of it: cells and pixels would meet at ties
CASES = (((480, 640), "mixed"), ((800, 1333), "mixed"), ((480, 640), "whole"), ((800, 1333), "whole"))
TARGETS = {"mixed": 350.0}
TIE = 2.0**-28  # below one half, and still inside
LEAST_IOU = 0.9  # a mean: boxes rounded to whole pixels show in small objects
PAUSE_S = 0.05  # torch's idle threads spin for some milliseconds: no side pays for another's

Masks = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float32]


def make_objects(size: tuple[int, int], boxes: str, seed: int) -> tuple[Masks, Boxes]:
    """Masks [N,M,M] and boxes [N,4] xyxy px of an image of (height, width)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    lobes, turn = (values[:, None, None] for values in (rng.integers(2, 6, NUMBER), rng.uniform(0, 6.28, NUMBER)))
    radius = 0.75 + 0.15 * np.sin(lobes * np.arctan2(y, x) + turn)
    masks = (1 / (1 + np.exp(12 * (np.hypot(y, x) - radius)))).astype(np.float32)
    whole = np.array(size[::-1], np.float64)
    sides = whole * (SMALLEST ** rng.uniform(0, 1, (NUMBER, 2)) if boxes == "mixed" else WHOLE)
    low = rng.uniform(0, 1, (NUMBER, 2)) * (whole - sides)
    return masks, np.concatenate([low, low + sides], axis=1).astype(np.float32)


def numpy_encoder() -> ModuleType:
    """The server's rle.py."""
    return load("postprocess", "rle")


def make_sides(masks: Masks, boxes: Boxes, size: tuple[int, int], threads: int) -> dict[str, Callable[[], list[bytes]]]:
    """What is timed: each gives N texts."""
    rle = numpy_encoder()
    probabilities, places = torch.from_numpy(masks)[:, None], torch.from_numpy(boxes)

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


def value_at(mask: Masks, box: Boxes, row: int, column: int) -> float:
    """The mask [M,M] in its box at a pixel's centre, before the threshold."""
    weights = []
    for pixel, low, high in ((row, box[1], box[3]), (column, box[0], box[2])):
        position = (pixel + 0.5 - float(low)) / (float(high) - float(low)) * SIDE - 0.5
        weights.append(np.maximum(0, 1 - np.abs(np.arange(SIDE) - position)))
    return float(weights[0] @ mask @ weights[1])


def ties(text: bytes, wanted: bytes, mask: Masks, box: Boxes, size: tuple[int, int]) -> int:
    """Pixels in which two texts differ, all of them ties; -1 if one is not."""
    if text == wanted:
        return 0
    pixels = [pycocotools.mask.decode({"size": list(size), "counts": counts}) for counts in (text, wanted)]
    places = np.argwhere(pixels[0] != pixels[1])
    far = [place for place in places if abs(value_at(mask, box, *place) - 0.5) > TIE]
    return -1 if far else len(places)


def check_agreement(
    what: str, masks: Masks, boxes: Boxes, size: tuple[int, int], sides: dict[str, Callable[[], list[bytes]]]
) -> dict[str, float]:
    """Pixels that differ from the reference rule for being ties, and the mean IoU of torchvision's masks with the rule.

    Raises:
        BenchmarkError: ours and numpy's differ, or are not the rule's, or torchvision's are other objects.
    """
    ours, expected = sides[OURS](), [entry["counts"] for entry in encode_masks(masks, boxes, size)]
    if ours != sides[NUMPY]():
        raise BenchmarkError(f"{what}: ours and numpy's texts differ")
    found = [ties(*objects, size) for objects in zip(ours, expected, masks, boxes, strict=True)]
    if -1 in found:
        raise BenchmarkError(f"{what}: mask {found.index(-1)} is not that of paste and pycocotools")
    pairs = zip(sides[TORCHVISION](), expected, strict=True)
    entries = [[{"size": list(size), "counts": counts} for counts in pair] for pair in pairs]
    iou = float(np.mean([pycocotools.mask.iou([a], [b], [0])[0, 0] for a, b in entries]))
    if iou < LEAST_IOU:
        raise BenchmarkError(f"{what}: torchvision's masks have a mean IoU of {iou:.3f}, expected {LEAST_IOU} or more")
    return {"pixels_on_a_tie": sum(found), "mean_iou_of_torchvision": iou}


def run_case(
    size: tuple[int, int], boxes: str, *, warmup: int, rounds: int, threads: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Check that the sides agree, then time them in turn."""
    masks, places = make_objects(size, boxes, seed=0)
    sides = make_sides(masks, places, size, threads)
    agreement = check_agreement(f"{size[0]}x{size[1]} {boxes}", masks, places, size, sides)
    calls = {name: lambda _, side=side: side() for name, side in sides.items()}
    timings = interleave(calls, warmup=warmup, rounds=rounds, tell=tell, pause_s=PAUSE_S, warm=True)
    result = {
        "case": "C4",
        "what": f"{size[0]}x{size[1]}, {boxes}",
        "masks": NUMBER,
        "mean_box_width_px": float((places[:, 2] - places[:, 0]).mean()),
        "text_bytes": sum(map(len, sides[OURS]())),
        "pixels_that_differ_but_on_a_tie": 0,
        **agreement,
        "vector_instructions": "AVX-512" if library.limit_simd(1) else "none",
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
        "ratio_of_medians": {name: timings[name].median / timings[OURS].median for name in (TORCHVISION, NUMPY)},
        "target": TARGETS.get(boxes),
    }
    return result, timings


def run(*, warmup: int, rounds: int, threads: int, console: Console) -> list[dict[str, Any]]:
    """Run and print all cases; JSON-ready results."""
    results = []
    for size, boxes in CASES:
        result, timings = run_case(size, boxes, warmup=warmup, rounds=rounds, threads=threads, tell=lambda line: None)
        title = f"C4: {NUMBER} masks to RLE, {result['what']}: {result['text_bytes'] / 1e3:.0f} kB of text"
        targets = {TORCHVISION: TARGETS[boxes]} if boxes in TARGETS else {}
        show(console, title, f"C4 {result['what']}", result, timings, targets)
        results.append(result)
    return results
