"""The sides' steps, of the same weights, photographs and targets on the same canvas.

torchvision's is that of references/detection/engine.py: forward, sum of the losses, backward, SGD, one read of the sum.
Ours is the function that `fit` calls: it has the gradient norm besides, and a read of all numbers behind a round.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import torch
from maskline_train.data.loader import Batch
from maskline_train.distributed import Processes
from maskline_train.ground_truth import batched
from maskline_train.target import Target
from maskline_train.training.report import Reports
from maskline_train.training.step import make_gradients, train_step
from torch import Tensor
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN

from maskline_bench.errors import BenchmarkError
from maskline_bench.our_training import LEARNING_RATE, made_peer, our_training
from maskline_bench.peers import (
    Photograph,
    made_targets,
    photographs,
    to_float,
)
from maskline_bench.train_step.setting import BOTH, CHANNELS_LAST, COMPILED, OUR_SIDES, RECORDED, THEIRS, Setting

# Our names of torchvision's losses.
LOSS_NAMES = {
    "loss_objectness": "rpn_objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
    "loss_mask": "mask",
}
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4

# A number of steps -> the five losses of the last one, by our names; the device has nothing left to do.
Steps = Callable[[int], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Material:
    """What all sides begin with; none changes it.

    Attributes:
        setting: sizes and device.
        peer: torchvision's network, whose weights ours gets.
        images: of the batch, [H, W, 3] uint8.
        targets: of each image: boxes, labels from 0, masks.
    """

    setting: Setting
    peer: TorchvisionMaskRCNN
    images: list[Photograph]
    targets: list[tuple[Tensor, Tensor, Tensor]]


def make_material(setting: Setting) -> Material:
    """Five photographs in turn, with made targets, and random weights."""
    height, width = setting.height, setting.width
    photos = photographs(height, width)
    peer = made_peer(photos[: setting.batch], height, width)
    images = [photos[index % len(photos)] for index in range(setting.batch)]
    return Material(
        setting, peer, images, [made_targets(height, width, setting.objects, seed) for seed in range(setting.batch)]
    )


def make_side(name: str, material: Material) -> Steps:
    """One side, ready to be called."""
    if name in OUR_SIDES:
        return _ours(material, compiled=name in (COMPILED, BOTH), recorded=name in (RECORDED, BOTH))
    return _theirs(material, half=name != THEIRS, channels_last=name == CHANNELS_LAST)


def _theirs(material: Material, *, half: bool, channels_last: bool) -> Steps:
    """Torchvision's reference step, without its logging."""
    device = material.setting.device
    model = copy.deepcopy(material.peer).train().to(device)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    images = [to_float(image).to(device) for image in material.images]
    targets = [
        {"boxes": boxes.to(device), "labels": labels.to(device) + 1, "masks": masks.to(device)}
        for boxes, labels, masks in material.targets
    ]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)

    def step() -> dict[str, Tensor]:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            losses: dict[str, Tensor] = model(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        if not math.isfinite(loss.item()):
            raise BenchmarkError(f"torchvision's loss is {loss.item()}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return losses

    def steps(count: int) -> dict[str, float]:
        torch.backends.cudnn.benchmark = False  # the reference leaves it as torch has it
        losses: dict[str, Tensor] = {}
        for _ in range(count):
            losses = step()
        values = torch.stack(list(losses.values())).tolist()
        _finish(material.setting)
        return {LOSS_NAMES[name]: value for name, value in zip(losses, values, strict=True)}

    return steps


def _ours(material: Material, *, compiled: bool, recorded: bool) -> Steps:
    """The step of `maskline-train fit` with the settings of the packaged recipe, in bf16 on a GPU."""
    setting = material.setting
    processes = Processes(0, 1, torch.device(setting.device))
    state, training = our_training(material.peer, setting.batch, processes.device, compiled=compiled)
    training = dataclasses.replace(training, graph=recorded)
    compute = make_gradients(state.model, state, training, processes)
    batch, reports = _batch(material).to(processes.device), Reports(training, processes)

    def steps(count: int) -> dict[str, float]:
        torch.backends.cudnn.benchmark = training.cudnn_benchmark
        for _ in range(count):
            reports.add(train_step(compute, state, batch, training, processes))
            state.step += 1
        values, _ = reports.read(0)
        _finish(setting)
        return {name: values[name] for name in LOSS_NAMES.values()}

    return steps


def _batch(material: Material) -> Batch:
    height, width = float(material.setting.height), float(material.setting.width)
    return Batch(
        canvas=torch.stack([torch.from_numpy(image.copy()) for image in material.images]),
        image_info=torch.tensor([[height, width, 1.0, 1.0, height, width]] * len(material.images)),
        truth=batched([Target(*target) for target in material.targets]),
        image_ids=tuple(range(len(material.images))),
    )


def _finish(setting: Setting) -> None:
    if setting.device == "cuda":  # the optimizer's work is still under way
        torch.cuda.synchronize()
