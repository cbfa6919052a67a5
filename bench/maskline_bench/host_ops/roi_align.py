"""RoIAlign of the box head (C1) and of the mask head (C2) on the CPU: ours, ONNX Runtime's and torchvision's in turn.

The maps P2 to P5 of an 800 x 1344 canvas, 256 channels, float32 NCHW in and out, 2 x 2 sampling points. Boxes have
sides that are uniform by logarithm, so that all four levels are read. ONNX Runtime runs the exported function body (its
own RoiAlign on the boxes of each level, then one gather) with its output bound to memory that is there; torchvision
runs its roi_align level by level, as its MultiScaleRoIAlign does. Ours and ONNX Runtime write to the same place in each
round; torchvision's operator takes none. The same file with our library of custom ops is a side of its own.

Run: make bench-ops, or python -m maskline_bench.host_ops --op roi_align
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from maskline_export.custom_ops.multiscale_roi_align import MultiscaleRoIAlign, body_ort
from maskline_host.library import custom_ops_path
from maskline_host.roi_align import multiscale_roi_align
from onnx import TensorProto, helper
from rich.console import Console

from maskline_bench.errors import BenchmarkError
from maskline_bench.host_ops.exported_body import session_of_body
from maskline_bench.host_ops.show import show, show_inside
from maskline_bench.measure import Timing, interleave

Array = npt.NDArray[np.float32]
OURS, RUNTIME, TORCHVISION = "maskline", "onnxruntime", "torchvision"
INSIDE = "maskline in onnxruntime"
INSIDE_TARGET = 8.0  # times the body
STRIDES = (4, 8, 16, 32)
CHANNELS = 256
CANVAS = (800, 1344)  # px, a multiple of 32
LINE_CELLS = 16  # cells of a cache line
# Coordinates of up to 336 cells in float32 (an ulp is 3e-5 of a cell), some ulps off, times a slope of up to 6 a cell.
TOLERANCE = 1e-3
PAUSE_S = 0.05  # the peers' idle threads spin for some milliseconds: no side pays for another's


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table in shared terms: its name, its size and the ratios aimed at."""

    name: str
    what: str
    boxes: int
    sides_px: tuple[float, float]
    pooled_side: int
    targets: dict[str, float]


CASES = (
    Case("C1", "box head, 1000 boxes, 7 x 7", 1000, (8.0, 790.0), 7, {RUNTIME: 20.0, TORCHVISION: 40.0}),
    Case("C2", "mask head, 100 boxes, 14 x 14", 100, (16.0, 790.0), 14, {RUNTIME: 20.0}),
)


def make_maps(seed: int) -> list[Array]:
    """Random maps [1,C,Hi,Wi] of P2 to P5."""
    rng = np.random.default_rng(seed)
    shapes = [(1, CHANNELS, CANVAS[0] // stride, CANVAS[1] // stride) for stride in STRIDES]
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def make_boxes(case: Case, seed: int) -> Array:
    """[1,R,4] boxes inside of the canvas; aspect ratios of 1:2 to 2:1."""
    rng = np.random.default_rng(seed)
    low, high = np.log(case.sides_px)
    size = np.exp(rng.uniform(low, high, case.boxes))
    ratio = 2.0 ** rng.uniform(-0.5, 0.5, case.boxes)
    height, width = (np.minimum(side, limit) for side, limit in zip((size / ratio, size * ratio), CANVAS, strict=True))
    top, left = (rng.uniform(0, 1, case.boxes) * (CANVAS[axis] - side) for axis, side in enumerate((height, width)))
    boxes: Array = np.stack([left, top, left + width, top + height], axis=-1)[None].astype(np.float32)
    return boxes


def make_ours(case: Case, maps: Sequence[Array], boxes: Array, threads: int) -> Callable[[], Array]:
    """Our call, into memory that is there."""
    out = np.empty((case.boxes, CHANNELS, case.pooled_side, case.pooled_side), np.float32)
    return lambda: multiscale_roi_align(
        maps, boxes, strides=STRIDES, pooled_side=case.pooled_side, sampling_ratio=2, threads=threads, out=out
    )


def make_runtime(
    case: Case, maps: Sequence[Array], boxes: Array, threads: int, library: Path | None = None
) -> Callable[[], Array]:
    """A session of the exported body, or with a library of custom ops, into memory that is there."""
    op = MultiscaleRoIAlign(STRIDES, 224.0, 4, case.pooled_side, 2, True)
    inputs = {"boxes": boxes, **{f"p{index + 2}": level for index, level in enumerate(maps)}}
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, [None] * 4)
    session = session_of_body(body_ort(op), op, inputs, [pooled], threads, library)
    out = np.empty((case.boxes, CHANNELS, case.pooled_side, case.pooled_side), np.float32)
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    binding.bind_output("pooled", "cpu", 0, np.float32, out.shape, out.ctypes.data)

    def run() -> Array:
        session.run_with_iobinding(binding)
        return out

    return run


def make_torchvision(case: Case, maps: Sequence[Array], boxes: Array) -> Callable[[], Array]:
    """The boxes of each level through torchvision's roi_align, scattered into one tensor; levels are found outside."""
    levels = [torch.from_numpy(level) for level in maps]
    rows = torch.cat([torch.zeros(case.boxes, 1), torch.from_numpy(boxes[0])], dim=1)
    level_of = torch.from_numpy(levels_of(boxes))

    def run() -> Array:
        pooled = torch.zeros(case.boxes, CHANNELS, case.pooled_side, case.pooled_side)
        for index, (level, stride) in enumerate(zip(levels, STRIDES, strict=True)):
            mine = torch.where(level_of == index)[0]
            aligned = torchvision.ops.roi_align(level, rows[mine], case.pooled_side, 1 / stride, 2, True)
            pooled[mine] = aligned
        return pooled.numpy()

    return run


def levels_of(boxes: Array) -> npt.NDArray[np.int64]:
    """Index of each box's level, [R]."""
    sides = boxes[0, :, 2:] - boxes[0, :, :2]
    number = np.floor(4 + np.log2(np.sqrt(sides.prod(axis=1)) / 224 + 1e-6))
    levels: npt.NDArray[np.int64] = np.clip(number, 2, 5).astype(np.int64) - 2
    return levels


def traffic_bytes(case: Case, boxes: Array) -> int:
    """Bytes that no implementation can avoid: every cache line of the maps that a box lies on, and the output, once."""
    level_of = levels_of(boxes)
    lines = 0
    for index, stride in enumerate(STRIDES):
        height, width = CANVAS[0] // stride, CANVAS[1] // stride
        read = np.zeros((height, -(-width // LINE_CELLS)), bool)
        for x0, y0, x1, y1 in boxes[0, level_of == index] / stride:
            columns = slice(max(int(x0 - 0.5), 0) // LINE_CELLS, min(int(x1 + 0.5), width - 1) // LINE_CELLS + 1)
            read[max(int(y0 - 0.5), 0) : int(y1 + 0.5) + 1, columns] = True
        lines += int(read.sum())
    return lines * LINE_CELLS * 4 * CHANNELS + case.boxes * CHANNELS * case.pooled_side**2 * 4


def run_case(
    case: Case, *, warmup: int, rounds: int, threads: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Check that the sides agree, then time them in turn.

    Raises:
        BenchmarkError: a side's answer is not torchvision's.
    """
    maps, boxes = make_maps(0), make_boxes(case, 1)
    sides = {
        OURS: make_ours(case, maps, boxes, threads),
        RUNTIME: make_runtime(case, maps, boxes, threads),
        TORCHVISION: make_torchvision(case, maps, boxes),
    }
    library = custom_ops_path()
    if library is not None:
        sides[INSIDE] = make_runtime(case, maps, boxes, threads, library)
    wanted = sides[TORCHVISION]()
    errors = {name: float(np.abs(side() - wanted).max()) for name, side in sides.items()}
    wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
    if wrong:
        raise BenchmarkError(f"{case.name}: largest error against torchvision {wrong}, expected at most {TOLERANCE}")
    calls = {name: lambda _, side=side: side() for name, side in sides.items()}
    timings = interleave(calls, warmup=warmup, rounds=rounds, tell=tell, pause_s=PAUSE_S, warm=True)
    ratios = {name: timings[name].median / timings[OURS].median for name in (RUNTIME, TORCHVISION)}
    moved = traffic_bytes(case, boxes)
    result = {
        "case": case.name,
        "what": case.what,
        "boxes_a_level": np.bincount(levels_of(boxes), minlength=len(STRIDES)).tolist(),
        "largest_error": errors,
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
        "ratio_of_medians": ratios,
        "inside_to_body": timings[RUNTIME].median / timings[INSIDE].median if library is not None else None,
        "targets": case.targets,
        "least_traffic_bytes": moved,
        "gb_s": {name: moved / timing.median / 1e9 for name, timing in timings.items()},
    }
    return result, timings


def run(*, warmup: int, rounds: int, threads: int, console: Console) -> list[dict[str, Any]]:
    """Run and print all cases; JSON-ready results."""
    results = []
    for case in CASES:
        result, timings = run_case(
            case, warmup=warmup, rounds=rounds, threads=threads, tell=lambda line: console.log(line, highlight=False)
        )
        rates = {"least GB/s": [f"{rate:.1f}" for rate in result["gb_s"].values()]}
        show(console, f"{case.name}: {case.what}", case.name, result, timings, case.targets, rates)
        show_inside(console, case.name, result["inside_to_body"], INSIDE_TARGET)
        results.append(result)
    return results
