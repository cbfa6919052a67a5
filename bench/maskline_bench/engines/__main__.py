"""G8, G9: the engines of ResNet-50-FPN in one process, by bodies, by libmaskline_ort.so, and torchvision; batches 1, 8.

Sides of ours are named after the bodies that their files carry, `ort` or `dense`; `+ library` runs the same files with
our custom ops. A canvas that lies on the device already goes in; boxes, scores, labels and 28 x 28 masks come out, and
stay there. No decoding, no resizing, no paste, no server: what is left is the network and the ops. Every side of ours
must find what the first finds before anything is timed.

Run: make bench-engines, or python -m maskline_bench.engines --device cuda --precision fp16 --batch 1 --batch 8
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnxruntime as ort
import torch
import typer
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.to_typed import type_artifact
from maskline_host.library import custom_ops_path
from rich.console import Console
from rich.table import Table
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.both_models import FULL, QUICK, Setting, make_peer, make_pictures, resized, write_checkpoint
from maskline_bench.device_ops.as_sets import unmatched_share
from maskline_bench.device_ops.timing import describe as describe_gpu
from maskline_bench.engines.sessions import Arrays, Sessions, boxes_of, detections_of
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import describe, interleave
from maskline_bench.result_file import write_json

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "fp16"]
MATCH_IOU = 0.9
WARMUP = 3  # uncounted rounds
# Of the detections of the first side. The ops are the same to float32's last bits; float16's stages before them are the
# same files. What differs lies on a threshold: two of a hundred.
MIN_MATCHED = 0.98


def make_artifacts(setting: Setting, precision: Precision, folder: Path) -> tuple[dict[str, Path], TorchvisionMaskRCNN]:
    """An artifact for each kind of bodies, and torchvision's model of the same weights."""
    peer = make_peer(setting, make_pictures(setting))
    checkpoint = write_checkpoint(peer, setting, folder)
    found = {}
    for bodies in ("ort", "dense"):
        artifact = folder / bodies
        export_checkpoint(checkpoint, artifact, bodies)
        if precision != "fp32":
            artifact = folder / f"{bodies}_{precision}"
            type_artifact(folder / bodies, artifact, precision, None)
        found[bodies] = artifact
    return found, peer


def make_batch(setting: Setting, images: int) -> tuple[Arrays, list[torch.Tensor]]:
    """Pictures on the canvas: what ours takes, and the same pixels as torchvision takes them, float [3, H, W]."""
    height, width = setting.resized
    pictures = [resized(each.picture, (height, width)) for each in make_pictures(setting)]
    canvas = np.zeros((images, *setting.canvas, 3), np.uint8)
    for image in range(images):
        canvas[image, :height, :width] = pictures[image % len(pictures)]
    info = np.array([[height, width, 1, 1, height, width]] * images, np.float32)
    tensors = [torch.from_numpy(pixels[:height, :width]).permute(2, 0, 1).float().div(255) for pixels in canvas]
    return {"canvas": canvas, "image_info": info}, tensors


def matched_share(ours: Arrays, theirs: Arrays) -> float:
    """Detections of all images that have a partner of the same class and IoU 0.9, over the larger number."""
    matched = total = 0.0
    for image in range(len(ours["num_detections"])):
        (boxes, labels), (others, names) = boxes_of(ours, image), boxes_of(theirs, image)
        most = max(len(boxes), len(others))
        matched += most * (1 - unmatched_share(boxes, others, labels, names, MATCH_IOU))
        total += most
    return matched / total if total else 0.0


def eager(model: TorchvisionMaskRCNN, images: list[torch.Tensor], half: bool) -> Callable[[int], object]:
    """Torchvision's network as it comes, without its paste."""
    device = images[0].device

    @torch.inference_mode()
    def run(_: int) -> object:
        with torch.autocast(device.type, torch.float16, enabled=half):
            batch, _targets = model.transform(images)
            features = model.backbone(batch.tensors)
            proposals, _losses = model.rpn(batch, features)
            found, _losses = model.roi_heads(features, proposals, batch.image_sizes)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return found

    return run


def measure(
    setting: Setting, device: Device, precision: Precision, batch: int, rounds: int, threads: int,
    artifacts: dict[str, Path], peer: TorchvisionMaskRCNN, tell: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """Check and time every side at one batch size."""
    library = custom_ops_path()
    if library is None:
        raise BenchmarkError("libmaskline_ort.so is not built; `make plugins` builds it and says what it needs")
    arrays, images = make_batch(setting, batch)
    chains = {
        f"{bodies}{with_library}": Sessions(artifact, device, threads, library if with_library else None)
        for bodies, artifact in artifacts.items()
        for with_library in ("", " + library")
    }
    given = next(iter(chains.values())).put(arrays)
    found = {name: detections_of(chain.run(given)) for name, chain in chains.items()}
    first = next(iter(found))
    matched = {name: matched_share(each, found[first]) for name, each in found.items()}
    if min(matched.values()) < MIN_MATCHED:
        raise BenchmarkError(f"detections that match those of {first}: got {matched}, expected {MIN_MATCHED} of each")
    stages: dict[str, dict[str, list[float]]] = {name: {} for name in chains}
    sides: dict[str, Callable[[int], object]] = {
        name: lambda _, name=name, chain=chain: chain.run(given, stages[name])  # type: ignore[misc]
        for name, chain in chains.items()
    }
    where = [image.to(device) for image in images]
    sides["torchvision"] = eager(peer.to(device), where, half=False)
    if precision == "fp16":
        sides["torchvision amp"] = eager(peer, where, half=True)
    timings = interleave(sides, warmup=WARMUP, rounds=rounds, tell=tell)
    return {
        "batch": batch,
        "detections": [int(count) for count in found[first]["num_detections"][:, 0]],
        "matched": matched,
        "ms_an_image": {name: timing.median / batch * 1e3 for name, timing in timings.items()},
        "stages_ms_an_image": {
            name: {stage: statistics.median(seconds[WARMUP:]) / batch * 1e3 for stage, seconds in each.items()}
            for name, each in stages.items()
        },
        "timings": {name: timing.to_dict() for name, timing in timings.items()},
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """One line a side."""
    title = f"batch {result['batch']}; objects: {', '.join(map(str, result['detections']))}; medians, ms an image"
    table = Table(title=title, title_justify="left")
    stages = list(next(iter(result["stages_ms_an_image"].values())))
    table.add_column("side", no_wrap=True)
    for heading in ("all", "images/s", "p99 a call", *stages, "matched"):
        table.add_column(heading, justify="right")
    for name, value in result["ms_an_image"].items():
        parts = result["stages_ms_an_image"].get(name, {})
        table.add_row(
            name,
            f"{value:.2f}",
            f"{1e3 / value:.1f}",
            f"{result['timings'][name]['p99_s'] * 1e3:.1f}",
            *(f"{parts[stage]:.2f}" if parts else "" for stage in stages),
            f"{result['matched'][name]:.1%}" if name in result["matched"] else "",
        )
    console.print(table)


def main(
    device: Annotated[Device, typer.Option(help="Where the engines run.")] = "cpu",
    precision: Annotated[Precision, typer.Option(help="Of trunk and heads.")] = "fp32",
    batch: Annotated[list[int], typer.Option(min=1, help="Images of a call; may be given several times.")] = [1],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Counted calls of each side.")] = 15,
    threads: Annotated[int, typer.Option(min=1, help="Of each side, on the CPU.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run on tiny pictures.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
) -> None:
    """Time the engines of ResNet-50-FPN by bodies, by our op library, and torchvision's network, in turn.

    Example: python -m maskline_bench.engines --device cuda --precision fp16 --batch 1 --batch 8
    """
    console, setting = Console(), QUICK if quick else FULL
    torch.set_num_threads(threads)
    with in_one_line("bench-engines"), tempfile.TemporaryDirectory(prefix="maskline-bench-") as folder:
        if device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError("got no GPU, expected one; nothing was timed")
        head = describe(threads)
        head["versions"]["onnxruntime"] = ort.__version__  # of the package that runs: two of them can be installed
        if device == "cuda":
            head["gpu"] = describe_gpu()
        results = []
        with console.status("making weights and exporting") as status:
            artifacts, peer = make_artifacts(setting, precision, Path(folder))
            for images in batch:
                results.append(
                    measure(setting, device, precision, images, rounds, threads, artifacts, peer, status.update)
                )
    console.rule(f"engines alone, ResNet-50-FPN, {precision}, {device}, canvas {setting.canvas[0]}x{setting.canvas[1]}")
    machine = head["gpu"]["machine"] if device == "cuda" else head["machine"]
    console.print(machine, head["versions"])
    for result in results:
        show(console, result)
    if json_file is not None:
        setting_values = dataclasses.asdict(setting)
        write_json(
            json_file, {**head, "device": device, "precision": precision, "setting": setting_values, "batches": results}
        )


if __name__ == "__main__":
    typer.run(main)
