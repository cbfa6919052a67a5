"""A training step of Mask R-CNN ResNet-50-FPN: ours as `maskline-train fit` runs it, torchvision's as its reference's.

Same weights, same photographs and targets on the same canvas, no loading and no resizing on either side, one process,
in turn. T0: float32 on a CPU. T1: bf16 on a GPU, torchvision's under autocast. torchvision's step is that of
references/detection/engine.py: forward, sum of the losses, backward, SGD, one read of the loss. Ours adds the gradient
norm (`clip_norm`, the check for non-finite values).

Run: make bench-train, or python -m maskline_bench.train_step --json docs/benchmarks/train_step.json
"""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import typer
from maskline_train import fit
from maskline_train.convert.from_torchvision import import_torchvision
from maskline_train.data.loader import Batch
from maskline_train.distributed import Processes
from maskline_train.ground_truth import batched
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipes.coco import mask_rcnn_r50_fpn
from maskline_train.target import Target
from maskline_train.training.interruption import Signals
from maskline_train.training.state import TrainingState
from rich.console import Console
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.device_ops.timing import describe as describe_gpu
from maskline_bench.errors import BenchmarkError, in_one_line
from maskline_bench.measure import (
    describe,
    gemm_gflop_s,
    gflop,
    interleave,
    memory_mib,
    paired_ratio,
    print_head,
    reset_peak,
    timing_table,
)
from maskline_bench.peers import NORM_EPS, class_names, made_targets, photographs, to_float, torchvision_model
from maskline_bench.result_file import write_json

OURS, THEIRS = "maskline", "torchvision"
# Our names of torchvision's losses.
LOSS_NAMES = {
    "loss_objectness": "rpn_objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
    "loss_mask": "mask",
}
# Random weights after a warm-up; a trained network's rate would do as well, the time of a step does not depend on it.
LEARNING_RATE = 1e-4
LOSS_TOLERANCE = 0.25  # of the sum: both sides draw other anchors and RoIs
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4

Step = Callable[[], dict[str, float]]
Device = Literal["cpu", "cuda"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one step computes on."""

    height: int
    width: int
    batch: int
    objects: int
    device: Device = "cpu"

    @property
    def half(self) -> bool:
        """Whether the networks compute in bf16: on a GPU."""
        return self.device == "cuda"


def make_step(side: str, setting: Setting) -> Step:
    """One side's step, ready to be called: it returns the five losses by our names."""
    photos = photographs(setting.height, setting.width)
    images = [photos[index % len(photos)] for index in range(setting.batch)]
    peer = torchvision_model(
        photos[: setting.batch], min_size=setting.height, max_size=max(setting.height, setting.width), _skip_resize=True
    )
    targets = [made_targets(setting.height, setting.width, setting.objects, seed) for seed in range(setting.batch)]
    if side == THEIRS:
        labelled = [
            {name: tensor.to(setting.device) for name, tensor in target.items()}
            for target in ({"boxes": boxes, "labels": labels + 1, "masks": masks} for boxes, labels, masks in targets)
        ]
        return _their_step(peer, [to_float(image).to(setting.device) for image in images], labelled, setting)
    model = import_torchvision(peer.state_dict(), class_names(), NORM_EPS)
    height, width = float(setting.height), float(setting.width)
    batch = Batch(
        canvas=torch.stack([torch.from_numpy(image.copy()) for image in images]),
        image_info=torch.tensor([[height, width, 1.0, 1.0, height, width]] * setting.batch),
        truth=batched([Target(*target) for target in targets]),
        image_ids=tuple(range(setting.batch)),
    )
    return _our_step(model, batch.to(setting.device), setting)


def _their_step(
    model: TorchvisionMaskRCNN, images: list[Tensor], targets: list[dict[str, Tensor]], setting: Setting
) -> Step:
    """Torchvision's reference step, without its logging."""
    model.train().to(setting.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)

    def step() -> dict[str, float]:
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.half):
            losses = model(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(loss.item()):
            raise BenchmarkError(f"torchvision's loss is {loss.item()}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return {LOSS_NAMES[name]: value.item() for name, value in losses.items()}

    return step


def _our_step(model: MaskRCNN, batch: Batch, setting: Setting) -> Step:
    """The step of `maskline-train fit` with the settings of the packaged recipe."""
    recipe = mask_rcnn_r50_fpn.build(model.spec.classes).training
    training = dataclasses.replace(
        recipe, total_batch=len(batch.canvas), base_lr=LEARNING_RATE, reference_batch=len(batch.canvas), warmup_steps=0,
        amp="bf16" if setting.half else "off",
    )  # fmt: skip
    model.train().to(setting.device)
    if training.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    state = TrainingState(model, training.build_optimizer(model), GradScaler(setting.device, enabled=False), None)
    processes, signals = Processes(0, 1, torch.device(setting.device)), Signals()

    def step() -> dict[str, float]:
        # The very function that `fit` calls a step, so that nothing it does is left out of the time.
        values, _ = fit._train_step(model, state, batch, training, processes, signals)
        if setting.device == "cuda":  # the optimizer's work is still under way
            torch.cuda.synchronize()
        return {name: values[name] for name in LOSS_NAMES.values()}

    return step


def check_losses(losses: dict[str, dict[str, float]]) -> None:
    """Raise BenchmarkError unless both sides' first losses are finite and add up to about the same."""
    sums = {side: sum(values.values()) for side, values in losses.items()}
    if not all(math.isfinite(value) for value in sums.values()):
        raise BenchmarkError(f"losses of the first step are not finite: {losses}")
    if abs(sums[OURS] - sums[THEIRS]) > LOSS_TOLERANCE * sums[THEIRS]:
        raise BenchmarkError(
            f"losses of the first step: got {sums[OURS]:.4g} ({OURS}) and {sums[THEIRS]:.4g} ({THEIRS}), expected them "
            f"within {LOSS_TOLERANCE:.0%}: the two sides do not compute the same"
        )


def peak_of(side: str, setting: Setting, threads: int) -> float:
    """Peak MiB of a process of its own that makes two steps of one side: resident, or allocated on the GPU."""
    wanted = ",".join(map(str, [side, *dataclasses.astuple(setting), threads]))
    command = [sys.executable, "-m", "maskline_bench.train_step", "--peak-of", wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"the memory run of {side} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(json.loads(done.stdout.splitlines()[-1]))


def _print_peak(text: str) -> None:
    """The child's side of `peak_of`."""
    side, *shape, device, threads = text.split(",")
    (known,) = (name for name in get_args(Device) if name == device)
    torch.set_num_threads(int(threads))
    height, width, batch, objects = map(int, shape)
    step = make_step(side, Setting(height, width, batch, objects, known))
    reset_peak()
    step()
    step()
    peak = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else memory_mib()[0]
    sys.stdout.write(f"{peak}\n")


def run(setting: Setting, *, warmup: int, rounds: int, threads: int, console: Console) -> dict[str, Any]:
    """Check, time, measure memory; returns the JSON-ready result."""
    torch.set_num_threads(threads)
    head = {**describe(threads), "device": setting.device}
    if setting.device == "cuda":
        head["gpu"] = describe_gpu()
    name = "T1 training step, ResNet-50-FPN, bf16" if setting.half else "T0 training step, ResNet-50-FPN, float32"
    print_head(console, name, head)
    console.print(
        f"batch {setting.batch}, canvas {setting.height}x{setting.width}, {setting.objects} made objects an image on "
        "scikit-image's photographs; random weights, the same on both sides"
    )
    steps = {side: make_step(side, setting) for side in (OURS, THEIRS)}
    first: dict[str, dict[str, float]] = {}
    work = {side: gflop(lambda side=side: first.update({side: steps[side]()})) for side in steps}  # type: ignore[misc]
    check_losses(first)
    last: dict[str, dict[str, float]] = {}
    with console.status("timing") as status:
        timings = interleave(
            {side: lambda _, side=side: last.update({side: steps[side]()}) for side in steps},  # type: ignore[misc]
            warmup=warmup,
            rounds=rounds,
            tell=status.update,
        )
        status.update("measuring memory, a process a side")
        peaks = {side: peak_of(side, setting, threads) for side in steps}
    ratio, paired = timings[THEIRS].median / timings[OURS].median, paired_ratio(timings[THEIRS], timings[OURS])
    limit = gemm_gflop_s(setting.device, torch.bfloat16) if setting.half else head["machine"]["gemm_fp32_gflop_s"]
    shares = {side: work[side] / timing.median / limit for side, timing in timings.items()}
    console.print(
        timing_table(
            "one step",
            timings,
            {
                "GFLOP": [f"{work[side]:.0f}" for side in timings],
                "of GEMM peak": [f"{shares[side]:.0%}" for side in timings],
                "peak MiB": [f"{peaks[side]:.0f}" for side in timings],
            },
        )
    )
    for side in timings:
        terms = ", ".join(f"{name} {value:.4g}" for name, value in first[side].items())
        sums = [sum(values[side].values()) for values in (first, last)]
        console.print(f"{side}: first loss {sums[0]:.4g} ({terms}), last {sums[1]:.4g}")
    console.print(f"[bold]{OURS} is {ratio:.3f} times as fast as {THEIRS}[/bold] (medians; by rounds {paired:.3f})")
    return {
        **head,
        "benchmark": name,
        "setting": {**dataclasses.asdict(setting), "warmup_rounds": warmup},
        "losses_first_step": first,
        "losses_last_step": last,
        "gflop": work,
        "share_of_gemm_peak": shares,
        "peak_mib": peaks,
        "images_per_second": {side: setting.batch / timing.median for side, timing in timings.items()},
        "timings": {side: timing.to_dict() for side, timing in timings.items()},
        "ratio_of_medians": ratio,
        "median_of_ratios": paired,
    }


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A smoke run of seconds on a tiny canvas.")] = False,
    height: Annotated[int, typer.Option(min=32, help="Canvas height, a multiple of 32.")] = 800,
    width: Annotated[int, typer.Option(min=32, help="Canvas width, a multiple of 32.")] = 1088,
    batch: Annotated[int, typer.Option(min=1, help="Images a step; five photographs in turn.")] = 2,
    objects: Annotated[int, typer.Option(min=1, help="Made objects an image.")] = 10,
    device: Annotated[Device, typer.Option(help="cpu: float32; cuda: bf16.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=1, help="Counted steps of each side.")] = 7,
    warmup: Annotated[int, typer.Option(min=0, help="Uncounted steps of each side.")] = 2,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    peak_of_side: Annotated[str, typer.Option("--peak-of", hidden=True)] = "",
) -> None:
    """Time a training step of ours and of torchvision's Mask R-CNN in turn.

    Example: python -m maskline_bench.train_step --height 512 --width 640 --json docs/benchmarks/train_step.json
    """
    if peak_of_side:
        _print_peak(peak_of_side)
        return
    setting = Setting(128, 160, 1, 4, device) if quick else Setting(height, width, batch, objects, device)
    if quick:
        rounds, warmup = 2, 1
    with in_one_line("bench-train"):
        if device == "cuda" and not torch.cuda.is_available():
            raise BenchmarkError("got no GPU, expected one; nothing was timed")
        result = run(setting, warmup=warmup, rounds=rounds, threads=threads, console=Console())
    if json_file is not None:
        write_json(json_file, {**result, "quick": quick})


if __name__ == "__main__":
    typer.run(main)
