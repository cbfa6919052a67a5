"""ResNet-50-FPN Mask R-CNN served, ours through Triton against torchvision eager: JPEG bytes in, COCO RLE out.

Ours: client, gRPC, a real Triton server with the ensemble `maskrcnn` on ONNX Runtime. torchvision: in this process,
Pillow, its own transform, its paste, pycocotools. Same weights, same JPEG files, in turn, image by image. Before any
timing both must find the same objects.

Run: make bench-serve, or python bench/serve.py --json docs/benchmarks/serve.json
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from calibrate import calibrate_heads
from eager import Agreement, Found, agreement, detect
from maskline_client.bench.calls import Answer, Caller
from maskline_client.bench.images import BenchImage
from maskline_client.bench.machine import server_memory
from maskline_export.to_onnx import export_checkpoint
from maskline_serve.assemble import assemble
from maskline_serve.server import TritonServer
from maskline_train.checkpoint import save_model
from maskline_train.import_torchvision import import_torchvision
from maskline_train.spec import PreprocessingSpec
from measure import (
    BenchmarkError,
    Timing,
    describe,
    gflop,
    interleave,
    memory_mib,
    paired_ratio,
    print_head,
    reset_peak,
    timing_table,
    write_json,
)
from peers import (
    NORM_EPS,
    NUM_CLASSES,
    Photograph,
    class_names,
    jpeg,
    photographs,
    torchvision_model,
    torchvision_network,
)
from rich.console import Console
from rle_memory import LIMIT_MIB, measure_rle_memory
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

OURS, THEIRS = "maskline through Triton", "torchvision eager"
TIMEOUT_S = 120.0
# A picture that needs no resizing reaches both networks bit for bit, so nearly every object must be the same; a few of
# random weights lie on a threshold. Resized pictures differ: Pillow rounds to 8 bits, torchvision does not.
MIN_SHARE_SAME_PIXELS, MIN_SHARE_RESIZED = 0.97, 0.8


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is served.

    Attributes:
        image: (height, width) of the JPEG files; half of the canvas' picture, so that both sides resize by 2 exactly.
        canvas: (height, width) that the network computes on.
        objects: wanted mean number of objects an image.
        min_mask_iou: of matched objects, a mean; torchvision rounds boxes to whole pixels before it pastes, we do not,
            which small objects show.
    """

    image: tuple[int, int]
    canvas: tuple[int, int]
    objects: int
    min_mask_iou: float

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) of the picture inside the canvas."""
        return 2 * self.image[0], 2 * self.image[1]


FULL = Setting(image=(400, 666), canvas=(800, 1344), objects=40, min_mask_iou=0.9)
QUICK = Setting(image=(80, 120), canvas=(160, 256), objects=20, min_mask_iou=0.8)


def make_peer(setting: Setting) -> tuple[TorchvisionMaskRCNN, float]:
    """Torchvision's model with calibrated weights, and the objects an image it finds."""
    images = photographs(*setting.resized)
    height, width = setting.resized
    model = torchvision_model(images[:2], min_size=height, max_size=max(width, round(height * 1333 / 800)))
    return model.eval(), calibrate_heads(model, images, setting.objects)


def write_repository(peer: TorchvisionMaskRCNN, setting: Setting, folder: Path) -> Path:
    """Import, export and assemble, by the calls behind the commands; returns the model repository."""
    model = import_torchvision(peer.state_dict(), class_names(), NORM_EPS)
    height, width = setting.canvas
    sizes = PreprocessingSpec(
        shorter_side_px=setting.resized[0],
        longer_side_px=int(peer.transform.max_size),
        canvases=((height, width), (width, height), (width, width)),
    )
    model.spec = dataclasses.replace(model.spec, preprocessing=sizes)
    save_model(folder / "checkpoint", model)
    export_checkpoint(folder / "checkpoint", folder / "artifact")
    assemble(folder / "artifact", folder / "repository")
    return folder / "repository"


def ours_found(answer: Answer, size: tuple[int, int]) -> Found:
    """The served answer in the form both sides are compared in."""
    masks = [{"size": list(size), "counts": bytes(counts)} for counts in answer.masks]
    return Found(answer.boxes, answer.scores, answer.labels.astype(np.int64), masks)


def as_image(photograph: Photograph, name: str) -> BenchImage:
    """A photograph as the JPEG file that is sent."""
    return BenchImage(name, jpeg(photograph), photograph.shape[0], photograph.shape[1])


def check(
    caller: Caller, peer: TorchvisionMaskRCNN, images: list[BenchImage], min_share: float, min_mask_iou: float
) -> list[Agreement]:
    """Compare both sides' objects on every image; few an image alone would say little, so all of them are counted.

    Raises:
        BenchmarkError: no objects at all, too few agree, or their masks do not.
    """
    pairs = []
    for image in images:
        answer = ours_found(caller.call(image).answer, (image.height, image.width))
        pairs.append(agreement(answer, detect(peer, image.data)))
    matched = sum(pair.matched for pair in pairs)
    total = sum(max(pair.ours, pair.theirs) for pair in pairs)
    mask_iou = sum(pair.mask_iou * pair.matched for pair in pairs) / max(1, matched)
    if not total or matched < min_share * total or mask_iou < min_mask_iou:
        counts = ", ".join(f"{pair.matched} of {pair.ours} and {pair.theirs}" for pair in pairs)
        raise BenchmarkError(
            f"{OURS} and {THEIRS} find other objects on pictures of {images[0].height}x{images[0].width}: {matched} of "
            f"{total} match ({counts}), mean mask IoU {mask_iou:.3f}; expected {min_share:.0%} and {min_mask_iou}"
        )
    return pairs


def peak_of_eager(peer: TorchvisionMaskRCNN, images: list[BenchImage], folder: Path, threads: int) -> float:
    """Peak resident MiB of a process of its own that runs torchvision eager on every image."""
    torch.save({"state": peer.state_dict(), "files": [image.data for image in images]}, folder / "eager.pt")
    sizes = f"{peer.transform.min_size[0]},{peer.transform.max_size},{threads}"
    command = [sys.executable, __file__, "--peak-of", f"{folder / 'eager.pt'},{sizes}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the memory run of torchvision failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def _print_peak(text: str) -> None:
    """The child's side of `peak_of_eager`."""
    file, min_size, max_size, threads = text.rsplit(",", 3)
    torch.set_num_threads(int(threads))
    kept = torch.load(file, weights_only=True)
    model = torchvision_network(min_size=int(min_size), max_size=int(max_size)).eval()
    model.load_state_dict(kept["state"])
    reset_peak()
    for data in kept["files"]:
        detect(model, data)
    sys.stdout.write(f"{memory_mib()[0]}\n")


def run(setting: Setting, *, warmup: int, rounds: int, threads: int, console: Console, folder: Path) -> dict[str, Any]:
    """Build both sides, check, time, measure memory; returns the JSON-ready result."""
    if hasattr(os, "sched_setaffinity"):  # the server inherits it: both sides have the same cores
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    torch.set_num_threads(threads)
    head = describe(threads)
    print_head(console, "serving, ResNet-50-FPN, float32: JPEG in, COCO RLE out", head)
    with console.status("calibrating random weights") as status:
        peer, objects = make_peer(setting)
        status.update("exporting and assembling")
        repository = write_repository(peer, setting, folder)
        images = [as_image(photo, f"photograph {i}") for i, photo in enumerate(photographs(*setting.image))]
        same = [as_image(photo, f"photograph {i}, whole") for i, photo in enumerate(photographs(*setting.resized))]
        status.update("starting the server")
        with TritonServer(repository) as server:
            caller = Caller(server.grpc_url, "maskrcnn", TIMEOUT_S)
            status.update("comparing what both sides find")
            gates = {
                "same_pixels": check(caller, peer, same[:2], MIN_SHARE_SAME_PIXELS, setting.min_mask_iou),
                "resized": check(caller, peer, images, MIN_SHARE_RESIZED, setting.min_mask_iou),
            }
            timings = interleave(
                {
                    OURS: lambda index: caller.call(images[index % len(images)]),
                    THEIRS: lambda index: detect(peer, images[index % len(images)].data),
                },
                warmup=warmup,
                rounds=rounds,
                tell=status.update,
            )
            caller.close()
            status.update("measuring memory")
            processes = server_memory(server.grpc_url)
            rle = measure_rle_memory(server.grpc_url)
        work = gflop(lambda: detect(peer, images[0].data))
        eager_mib = peak_of_eager(peer, images, folder, threads)
    result = {
        **head,
        "benchmark": "serving, ResNet-50-FPN, float32: JPEG in, COCO RLE out",
        "setting": {
            **dataclasses.asdict(setting),
            "classes": NUM_CLASSES,
            "jpeg_kilobytes": [round(len(image.data) / 1e3, 1) for image in images],
            "calibrated_objects_an_image": objects,
            "warmup_rounds": warmup,
        },
        "gates": {name: [dataclasses.asdict(pair) for pair in pairs] for name, pairs in gates.items()},
        "objects_an_image": statistics.mean(pair.ours for pair in gates["resized"]),
        "timings": {side: timing.to_dict() for side, timing in timings.items()},
        "images_per_second": {side: 1 / timing.median for side, timing in timings.items()},
        "ratio_of_medians": timings[THEIRS].median / timings[OURS].median,
        "median_of_ratios": paired_ratio(timings[THEIRS], timings[OURS]),
        "gflop": work,
        "server_processes": [dataclasses.asdict(process) for process in processes],
        "torchvision_peak_mib": eager_mib,
        "rle_memory": {**dataclasses.asdict(rle), "limit_mib": LIMIT_MIB},
    }
    print_result(console, result, timings)
    return result


def print_result(console: Console, result: dict[str, Any], timings: dict[str, Timing]) -> None:
    """Print what `run` found."""
    limit, work, rle = result["machine"]["gemm_fp32_gflop_s"], result["gflop"], result["rle_memory"]
    setting, gates = result["setting"], result["gates"]
    console.print(
        f"{len(setting['jpeg_kilobytes'])} photographs of {setting['image'][0]}x{setting['image'][1]} px, canvas "
        f"{setting['canvas'][0]}x{setting['canvas'][1]}, {setting['classes']} classes, "
        f"{result['objects_an_image']:.1f} objects an image; decoding, resizing, paste and RLE inside the time"
    )
    for name, pairs in gates.items():
        matched = sum(pair["matched"] for pair in pairs)
        total = sum(max(pair["ours"], pair["theirs"]) for pair in pairs)
        mask_iou = sum(pair["mask_iou"] * pair["matched"] for pair in pairs) / matched
        console.print(f"gate, {name.replace('_', ' ')}: {matched} of {total} objects match, mask IoU {mask_iou:.3f}")
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


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run on tiny pictures.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Counted images of each side.")] = 15,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted images of each side.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Cores and threads of each side.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    peak_of: Annotated[str, typer.Option("--peak-of", hidden=True)] = "",
) -> None:
    """Time our served model and torchvision eager in turn, and measure their memory.

    Example: python bench/serve.py --rounds 15 --json docs/benchmarks/serve.json
    """
    if peak_of:
        _print_peak(peak_of)
        return
    if quick:
        rounds, warmup = 2, 1
    try:
        with tempfile.TemporaryDirectory(prefix="maskline-bench-") as folder:
            setting = QUICK if quick else FULL
            result = run(setting, warmup=warmup, rounds=rounds, threads=threads, console=Console(), folder=Path(folder))
    except BenchmarkError as error:
        Console(stderr=True).print(f"bench-serve: {error}", style="red", soft_wrap=True)
        raise typer.Exit(1) from error
    if json_file is not None:
        write_json(json_file, {**result, "quick": quick})


if __name__ == "__main__":
    typer.run(main)
