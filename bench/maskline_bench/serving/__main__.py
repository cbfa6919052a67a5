"""ResNet-50-FPN Mask R-CNN served, ours through Triton against torchvision eager: JPEG bytes in, COCO RLE out.

Ours: client, gRPC, two real Triton servers with the ensemble `maskrcnn` on ONNX Runtime, in float32 and in int8.
torchvision: in this process, Pillow, its own transform, its paste, pycocotools. Same weights, same JPEG files, in turn,
image by image. Before any timing float32 and torchvision must find the same objects; what int8 finds otherwise is
printed. Then the int8 graphs alone, in ONNX Runtime and in OpenVINO.

Run: make bench-serve, or python -m maskline_bench.serving --json docs/benchmarks/serve.json
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from maskline_client.bench.calls import Caller
from maskline_client.bench.images import BenchImage
from maskline_client.bench.machine import server_memory
from maskline_export.onnx_stages.to_onnx import export_checkpoint
from maskline_export.precision.int8_cpu.artifact import quantise_artifact
from maskline_export.precision.int8_cpu.price import Price
from maskline_export.precision.int8_cpu.price import compare as compare_artifacts
from maskline_export.precision.quantize import as_stage_input
from maskline_host import custom_ops_path
from maskline_serve.repository.assemble import assemble
from maskline_serve.server.triton_server import TritonServer
from PIL import Image
from rich.console import Console
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.both_models import (
    FULL,
    QUICK,
    Picture,
    Setting,
    make_peer,
    make_pictures,
    peer_options,
    resized,
    write_calibration,
    write_checkpoint,
)
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import (
    describe,
    gflop,
    interleave,
    memory_mib,
    paired_ratio,
    print_head,
    reset_peak,
)
from maskline_bench.peers import NUM_CLASSES, png, torchvision_network
from maskline_bench.result_file import write_json
from maskline_bench.serving.eager import detect
from maskline_bench.serving.found import answer_found
from maskline_bench.serving.gate import Agreement, agreement, check_counts, check_same_pixels
from maskline_bench.serving.int8_graphs import time_graphs
from maskline_bench.serving.print_result import OURS, OURS_INT8, THEIRS, print_result
from maskline_bench.serving.rle_memory import LIMIT_MIB, measure_rle_memory
from maskline_bench.teach import Tell

TIMEOUT_S = 120.0


def make_images(setting: Setting, pictures: Sequence[Picture]) -> tuple[list[BenchImage], list[BenchImage]]:
    """The JPEG files that are timed, and the same pictures as PNG files that need no resizing any more."""
    timed, same_pixels = [], []
    for index, drawn in enumerate(pictures):
        whole = Image.fromarray(resized(drawn.picture, setting.resized))
        timed.append(BenchImage(f"picture {index}", drawn.file, *setting.image))
        same_pixels.append(BenchImage(f"picture {index}, resized", png(whole), *setting.resized))
    return timed, same_pixels


def write_repositories(
    peer: TorchvisionMaskRCNN, setting: Setting, pictures: Sequence[Picture], folder: Path, tell: Tell
) -> tuple[dict[str, Path], Price]:
    """Import, export, quantise and assemble, by the calls behind the commands.

    Returns:
        The model repository of each of our sides, and what int8 brings and costs on the pictures without a server.
    """
    artifacts = {OURS: folder / "artifact", OURS_INT8: folder / "int8"}
    export_checkpoint(write_checkpoint(peer, setting, folder), artifacts[OURS])
    calibration = write_calibration(setting, folder / "calibration")
    manifest, _ = quantise_artifact(artifacts[OURS], artifacts[OURS_INT8], calibration, allow_slower=True, report=tell)
    tell("comparing int8 with float32")
    given = (as_stage_input(each.picture, manifest.spec.preprocessing) for each in pictures)
    price = compare_artifacts(artifacts[OURS], artifacts[OURS_INT8], given, custom_ops_path())
    repositories = {side: folder / f"repository of {artifact.name}" for side, artifact in artifacts.items()}
    for side, artifact in artifacts.items():
        assemble(artifact, repositories[side])
    return repositories, price


def compare(caller: Caller, peer: TorchvisionMaskRCNN, images: list[BenchImage]) -> list[Agreement]:
    """What both sides find in every image."""
    return [
        agreement(answer_found(caller.call(image).answer, (image.height, image.width)), detect(peer, image.data))
        for image in images
    ]


def peak_of_eager(
    peer: TorchvisionMaskRCNN, setting: Setting, images: list[BenchImage], folder: Path, threads: int
) -> float:
    """Peak resident MiB of a process of its own that runs torchvision eager on every image."""
    kept = {
        "state": peer.state_dict(),
        "files": [image.data for image in images],
        "options": peer_options(setting),
        "threads": threads,
    }
    torch.save(kept, folder / "eager.pt")
    command = [sys.executable, "-m", "maskline_bench.serving", "--peak-of", str(folder / "eager.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the memory run of torchvision failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.splitlines()[-1])


def _print_peak(file: Path) -> None:
    """The child's side of `peak_of_eager`."""
    kept = torch.load(file, weights_only=True)
    torch.set_num_threads(kept["threads"])
    model = torchvision_network(**kept["options"]).eval()
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
    print_head(console, "C7, C9 serving, ResNet-50-FPN: JPEG in, COCO RLE out", head)
    with console.status("making weights") as status:
        pictures = make_pictures(setting)
        images, same_pixels = make_images(setting, pictures)
        peer = make_peer(setting, pictures, status.update)
        status.update("exporting, quantising and assembling")
        repositories, price = write_repositories(peer, setting, pictures, folder, status.update)
        status.update("starting the servers")
        with TritonServer(repositories[OURS]) as server, TritonServer(repositories[OURS_INT8]) as int8_server:
            caller = Caller(server.grpc_url, "maskrcnn", TIMEOUT_S)
            int8_caller = Caller(int8_server.grpc_url, "maskrcnn", TIMEOUT_S)
            status.update("comparing what the sides find")
            same, timed = compare(caller, peer, same_pixels), compare(caller, peer, images)
            check_same_pixels(same, setting.min_mask_iou)
            check_counts(timed, setting.count_tolerance)
            timings = interleave(
                {
                    OURS: lambda index: caller.call(images[index % len(images)]),
                    OURS_INT8: lambda index: int8_caller.call(images[index % len(images)]),
                    THEIRS: lambda index: detect(peer, images[index % len(images)].data),
                },
                warmup=warmup,
                rounds=rounds,
                tell=status.update,
            )
            caller.close()
            int8_caller.close()
            status.update("measuring memory")
            processes, int8_processes = server_memory(server.grpc_url), server_memory(int8_server.grpc_url)
            rle = measure_rle_memory(server.grpc_url)
        status.update("the int8 graphs alone")
        graphs = time_graphs(folder / "int8", pictures, threads, rounds, status.update)
        work = gflop(lambda: detect(peer, images[0].data))
        eager_mib = peak_of_eager(peer, setting, images, folder, threads)
    result = {
        **head,
        "benchmark": "serving, ResNet-50-FPN, float32 and int8: JPEG in, COCO RLE out",
        "setting": {
            **dataclasses.asdict(setting),
            "classes": NUM_CLASSES,
            "jpeg_kilobytes": [round(len(image.data) / 1e3, 1) for image in images],
            "drawn_objects": [len(each.boxes) for each in pictures],
            "warmup_rounds": warmup,
        },
        "gate_same_pixels": [dataclasses.asdict(pair) for pair in same],
        "gate_timed": [dataclasses.asdict(pair) for pair in timed],
        "timings": {side: timing.to_dict() for side, timing in timings.items()},
        "images_per_second": {side: 1 / timing.median for side, timing in timings.items()},
        "ratio_of_medians": {side: timings[THEIRS].median / timings[side].median for side in (OURS, OURS_INT8)},
        "median_of_ratios": {side: paired_ratio(timings[THEIRS], timings[side]) for side in (OURS, OURS_INT8)},
        "int8_price": price.to_dict(),
        "int8_graphs": graphs,
        "gflop": work,
        "server_processes": [dataclasses.asdict(process) for process in processes],
        "int8_server_processes": [dataclasses.asdict(process) for process in int8_processes],
        "torchvision_peak_mib": eager_mib,
        "rle_memory": {**dataclasses.asdict(rle), "limit_mib": LIMIT_MIB},
    }
    print_result(console, result, timings)
    return result


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run on tiny pictures.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Counted images of each side.")] = 15,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted images of each side.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Cores and threads of each side.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    peak_of: Annotated[Path | None, typer.Option("--peak-of", hidden=True)] = None,
) -> None:
    """Time our served model in float32 and int8 and torchvision eager in turn, and measure their memory.

    Example: python -m maskline_bench.serving --rounds 15 --json docs/benchmarks/serve.json
    """
    if peak_of is not None:
        _print_peak(peak_of)
        return
    if quick:
        rounds, warmup = 2, 1
    with in_one_line("bench-serve"), tempfile.TemporaryDirectory(prefix="maskline-bench-") as folder:
        setting = QUICK if quick else FULL
        result = run(setting, warmup=warmup, rounds=rounds, threads=threads, console=Console(), folder=Path(folder))
    if json_file is not None:
        write_json(json_file, {**result, "quick": quick})


if __name__ == "__main__":
    typer.run(main)
