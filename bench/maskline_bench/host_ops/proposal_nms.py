"""Proposals on the CPU (C3): ours, torchvision's and ONNX Runtime's in turn, 268 569 anchors to 1000 proposals.

Logits and deltas of an 800 x 1344 canvas, five levels of three anchors a cell, float32. Two sets of them: `scene`, some
hundred smooth peaks as a trained network gives, of whose boxes NMS drops most, and `noise`, independent numbers, of
whose boxes nearly all stay, which is the most work. torchvision's side is what its RegionProposalNetwork does between
its head and its proposals, but for the anchors, which it makes anew in every call and which are made beforehand here.
ONNX Runtime runs the exported function body, and as a side of its own the same file with our library of custom ops.

Run: make bench-ops, or python -m maskline_bench.host_ops --op proposal_nms
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from maskline_export.custom_ops import proposal_nms as exported
from maskline_host.library import custom_ops_path
from maskline_host.proposal_nms import ProposalNMS, proposal_nms
from onnx import TensorProto, helper
from rich.console import Console
from torchvision.models.detection.rpn import (
    AnchorGenerator,
    RegionProposalNetwork,
    RPNHead,
    concat_box_prediction_layers,
)

from maskline_bench.errors import BenchmarkError
from maskline_bench.host_ops.exported_body import session_of_body
from maskline_bench.host_ops.show import show, show_inside
from maskline_bench.measure import Timing, interleave

Array = npt.NDArray[np.float32]
OURS, RUNTIME, TORCHVISION = "maskline", "onnxruntime", "torchvision"
INSIDE = "maskline in onnxruntime"
INSIDE_TARGET = 15.0  # times the body
CANVAS, IMAGE = (800, 1344), (800, 1333)  # px
OP = ProposalNMS(
    strides=(4, 8, 16, 32, 64),
    anchor_sizes=(32.0, 64.0, 128.0, 256.0, 512.0),
    aspect_ratios=(0.5, 1.0, 2.0),
    anchor_rounded=True,  # as torchvision's
    anchor_centre_offset=0.0,
    pre_nms_per_level=1000,
    max_proposals=1000,
    nms_thresh=0.7,
    min_side=1e-3,
)
TARGETS = {TORCHVISION: 20.0}
KINDS = ("scene", "noise")
PEAKS = 120  # a level's smooth maxima in a `scene`
TOLERANCE_PX = 1e-2  # of boxes up to 1333 px that went through an exponential in float32
# torchvision orders by the sigmoid of logits, in which some that differ become equal: their boxes may change places,
# and where they overlap, another one stays.
LEAST_SHARED = 0.99
PAUSE_S = 0.05  # the peers' idle threads spin for some milliseconds: no side pays for another's


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What a region proposal head gives for one image."""

    logits: list[Array]  # L arrays [1,A,Hi,Wi]
    deltas: list[Array]  # L arrays [1,4A,Hi,Wi]
    image_info: Array  # [1,6]


def make_outputs(kind: str, seed: int) -> Outputs:
    """Random outputs of the kind `scene` or `noise`."""
    rng = np.random.default_rng(seed)
    anchors = OP.anchors_per_cell
    logits, deltas = [], []
    for stride in OP.strides:
        size = (-(-CANVAS[0] // stride), -(-CANVAS[1] // stride))
        noise = rng.standard_normal((1, anchors, *size))
        peaks = scene(rng, anchors, size) if kind == "scene" else 0.0
        logits.append((0.5 * noise + peaks if kind == "scene" else 2 * noise - 4).astype(np.float32))
        deltas.append((0.2 * rng.standard_normal((1, 4 * anchors, *size))).astype(np.float32))
    return Outputs(logits, deltas, np.array([[*IMAGE, 1, 1, *IMAGE]], np.float32))


def scene(rng: np.random.Generator, anchors: int, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """[1,A,Hi,Wi] with the higher of PEAKS bells at each cell, some cells wide, over a low ground."""
    y, x = np.mgrid[: size[0], : size[1]]
    values = np.full((1, anchors, *size), -8.0)
    for row, column, anchor, width in zip(
        rng.uniform(0, size[0], PEAKS),
        rng.uniform(0, size[1], PEAKS),
        rng.integers(0, anchors, PEAKS),
        rng.uniform(1, 4, PEAKS),
        strict=True,
    ):
        bell = 12 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2)) - 8
        values[0, anchor] = np.maximum(values[0, anchor], bell)
    return values


def make_ours(outputs: Outputs, threads: int) -> Callable[[], Array]:
    """Proposals [1000,4] by the host library."""
    return lambda: proposal_nms(OP, outputs.image_info, outputs.logits, outputs.deltas, threads)[0][0]


def make_torchvision(outputs: Outputs) -> Callable[[], Array]:
    """Proposals [n,4] by torchvision's own functions, in the order of RegionProposalNetwork.forward."""
    sizes = tuple((size,) for size in OP.anchor_sizes)
    generator = AnchorGenerator(sizes, (OP.aspect_ratios,) * len(sizes))
    top, limit = ({"training": 0, "testing": number} for number in (OP.pre_nms_per_level, OP.max_proposals))
    network = RegionProposalNetwork(generator, RPNHead(1, 3), 0.7, 0.3, 1, 0.5, top, limit, OP.nms_thresh).eval()
    logits, deltas = ([torch.from_numpy(level) for level in levels] for levels in (outputs.logits, outputs.deltas))
    # With the strides as they are: its own guess from the canvas is 61 px for the 13 rows of P6.
    generator.set_cell_anchors(torch.float32, torch.device("cpu"))
    strides = [[torch.tensor(stride)] * 2 for stride in OP.strides]
    anchors = [torch.cat(generator.grid_anchors([list(level.shape[2:]) for level in logits], strides))]
    counts = [level[0].numel() for level in logits]

    @torch.inference_mode()
    def run() -> Array:
        objectness, shifts = concat_box_prediction_layers(list(logits), list(deltas))
        boxes = network.box_coder.decode(shifts, anchors).view(1, -1, 4)
        found: Array = network.filter_proposals(boxes, objectness, [IMAGE], counts)[0][0].numpy()
        return found

    return run


def make_runtime(outputs: Outputs, threads: int, library: Path | None = None) -> Callable[[], Array]:
    """Proposals [1000,4] by a session of the exported body, or with a library of custom ops."""
    op = exported.ProposalNMS(**dataclasses.asdict(OP))
    levels = range(len(OP.strides))
    inputs = {"image_info": outputs.image_info}
    inputs |= {f"logits_{level}": outputs.logits[level] for level in levels}
    inputs |= {f"deltas_{level}": outputs.deltas[level] for level in levels}
    results = [
        helper.make_tensor_value_info("proposals", TensorProto.FLOAT, [None] * 3),
        helper.make_tensor_value_info("num_proposals", TensorProto.INT32, [None]),
    ]
    session = session_of_body(exported.body_ort(op), op, inputs, results, threads, library)

    def run() -> Array:
        found: Array = session.run(["proposals"], inputs)[0][0]
        return found

    return run


def shared(boxes: Array, others: Array) -> float:
    """Share of `boxes` [n,4] that `others` [m,4] has too, at any place."""
    nearest = [float(np.abs(others - box).max(axis=1).min()) for box in boxes]
    return float(np.mean(np.array(nearest) <= TOLERANCE_PX))


def check_agreement(kind: str, outputs: Outputs, sides: dict[str, Callable[[], Array]]) -> dict[str, float]:
    """Share of the definition's proposals that each side finds.

    Raises:
        BenchmarkError: ours are not the definition's, box by box in order, or a peer finds others.
    """
    expected, count = exported.reference(
        exported.ProposalNMS(**dataclasses.asdict(OP)), outputs.image_info, outputs.logits, outputs.deltas
    )
    error = float(np.abs(sides[OURS]() - expected[0]).max())
    if not error <= TOLERANCE_PX:
        raise BenchmarkError(f"{kind}: ours is {error} px from the definition, expected at most {TOLERANCE_PX}")
    agreement = {name: shared(expected[0, : count[0]], side()) for name, side in sides.items()}
    wrong = {name: share for name, share in agreement.items() if share < LEAST_SHARED}
    if wrong:
        raise BenchmarkError(f"{kind}: shares of the definition's proposals {wrong}, expected at least {LEAST_SHARED}")
    return agreement


def run_case(
    kind: str, *, warmup: int, rounds: int, threads: int, tell: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Timing]]:
    """Check that the sides agree, then time them in turn."""
    outputs = make_outputs(kind, 0)
    sides = {
        OURS: make_ours(outputs, threads),
        TORCHVISION: make_torchvision(outputs),
        RUNTIME: make_runtime(outputs, threads),
    }
    library = custom_ops_path()
    if library is not None:
        sides[INSIDE] = make_runtime(outputs, threads, library)
    agreement = check_agreement(kind, outputs, sides)
    calls = {name: lambda _, side=side: side() for name, side in sides.items()}
    timings = interleave(calls, warmup=warmup, rounds=rounds, tell=tell, pause_s=PAUSE_S, warm=True)
    result = {
        "case": "C3",
        "what": kind,
        "anchors": sum(level.size for level in outputs.logits),
        "proposals": len(sides[TORCHVISION]()),
        "shared_with_the_definition": agreement,
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
        "ratio_of_medians": {name: timings[name].median / timings[OURS].median for name in (TORCHVISION, RUNTIME)},
        "inside_to_body": timings[RUNTIME].median / timings[INSIDE].median if library is not None else None,
        "targets": TARGETS,
        "logit_gb_s": sum(level.nbytes for level in outputs.logits) / timings[OURS].median / 1e9,
    }
    return result, timings


def run(*, warmup: int, rounds: int, threads: int, console: Console) -> list[dict[str, Any]]:
    """Run and print all cases; JSON-ready results."""
    results = []
    for kind in KINDS:
        result, timings = run_case(
            kind, warmup=warmup, rounds=rounds, threads=threads, tell=lambda line: console.log(line, highlight=False)
        )
        title = f"C3: {result['anchors']} anchors to {result['proposals']} proposals, {kind}"
        show(console, title, f"C3 {kind}", result, timings, TARGETS)
        show_inside(console, f"C3 {kind}", result["inside_to_body"], INSIDE_TARGET)
        results.append(result)
    return results
