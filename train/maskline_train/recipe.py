"""Recipe: all that decides a training run, as frozen dataclasses. `recipes/` holds the packaged ones and finds them.

A recipe is a Python file with `build(classes) -> Recipe`; its docstring's first line says what it is. A different
run is a copy of the file with other numbers, not another flag.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import nn

from maskline_train.data.transforms import Augmentation
from maskline_train.model.sampling import SamplingSpec
from maskline_train.spec import ModelSpec
from maskline_train.training.schedule import Cosine, StepDecay, warmup


@dataclasses.dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum. Ref: paper 3.1, "a momentum of 0.9"."""

    momentum: float = 0.9

    def build(self, groups: list[dict[str, Any]], lr: float, fused: bool | None) -> torch.optim.Optimizer:
        """The torch optimizer over parameter groups; None leaves to torch how it computes."""
        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum, fused=fused)


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay: fewer steps from nothing than SGD needs, on small data."""

    betas: tuple[float, float] = (0.9, 0.999)

    def build(self, groups: list[dict[str, Any]], lr: float, fused: bool | None) -> torch.optim.Optimizer:
        """The torch optimizer over parameter groups; None leaves to torch how it computes."""
        return torch.optim.AdamW(groups, lr=lr, betas=self.betas, fused=fused)


@dataclasses.dataclass(frozen=True)
class TrainingSpec:
    """The optimisation of a run. The defaults are the paper's baseline (section 3.1) where the text gives them.

    `base_lr` belongs to `reference_batch` images; the rate used is `base_lr * total_batch / reference_batch`.
    Steps count optimizer steps of the whole batch, whatever the number of processes.
    """

    steps: int
    decay: StepDecay | Cosine
    total_batch: int = 16  # images a step over all processes: 2 images x 8 GPUs
    base_lr: float = 0.02
    reference_batch: int = 16
    warmup_steps: int = 500  # the paper is silent; 500 from a third is Detectron's schedule
    warmup_factor: float = 1.0 / 3.0
    optimizer: Sgd | AdamW = Sgd()
    weight_decay: float = 1e-4  # on weights; biases and norm parameters have none
    clip_norm: float | None = None  # gradients of a larger total norm are scaled down to it
    amp: Literal["off", "bf16", "fp16"] = "off"
    channels_last: bool = False
    # Four of a GPU alone, which change nothing but its speed and the last bits:
    compile: bool = False  # trunk and heads by torch.compile: a few minutes at the start, fewer and larger kernels
    fused: bool = True  # the optimizer updates all weights in one kernel in place of a few for each
    cudnn_benchmark: bool = True  # cuDNN tries its convolutions once a canvas size, and takes the fastest
    # Forward and backward recorded once a size of batch, then launched as one: a host is the limit where batches are
    # small, and memory the price. Of a run of one process.
    graph: bool = False
    ema_decay: float | None = None  # evaluation and checkpoints then use the averaged weights
    seed: int = 0
    keep_empty: bool = False  # images without an object to train on are shown too, as background
    workers: int = 4  # loading processes a training process; 0 loads in the training process itself
    log_every: int = 20
    checkpoint_every: int = 2_000
    evaluate_every: int = 10_000  # also writes the prediction pictures
    evaluate_images: int | None = None  # of the validation split; None: all

    def __post_init__(self) -> None:
        """Refuse values that cannot train."""
        for name in ("steps", "total_batch", "reference_batch", "log_every", "checkpoint_every", "evaluate_every"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"TrainingSpec.{name}: got {value}, expected at least 1")
        if self.amp not in ("off", "bf16", "fp16"):
            raise ValueError(f"TrainingSpec.amp: got {self.amp!r}, expected 'off', 'bf16' or 'fp16'")

    @property
    def peak_lr(self) -> float:
        """The learning rate after warm-up, scaled linearly to the total batch (Goyal et al. 2017)."""
        return self.base_lr * self.total_batch / self.reference_batch

    def learning_rate(self, step: int) -> float:
        """The learning rate of step `step`, counted from 0."""
        return self.peak_lr * warmup(step, self.warmup_steps, self.warmup_factor) * self.decay.at(step, self.steps)

    def with_total_batch(self, total_batch: int) -> TrainingSpec:
        """The same training for another batch: all that counts steps is stretched so that it sees as many images.

        The learning rate follows by itself (`peak_lr`).
        """
        if total_batch < 1:
            raise ValueError(f"total batch: got {total_batch}, expected at least 1")
        ratio = self.total_batch / total_batch
        counts = ("steps", "warmup_steps", "checkpoint_every", "evaluate_every")
        stretched = {name: max(1, round(getattr(self, name) * ratio)) for name in counts}
        return dataclasses.replace(self, total_batch=total_batch, decay=self.decay.stretched(ratio), **stretched)

    def build_optimizer(self, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
        """The optimizer over what trains in `model`; vectors (biases, norms) have no weight decay, as in Detectron."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        # With fp16 torch's fused SGD takes its first momentum from memory that nobody wrote where the scaler skipped
        # the first step, as it does until its scale has come down.
        fused = True if self.fused and device.type == "cuda" and self.amp != "fp16" else None
        return self.optimizer.build(groups, self.peak_lr, fused)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole run: the network, how its training examples are sampled, the pictures' variation, the optimisation."""

    model: ModelSpec
    sampling: SamplingSpec
    augmentation: Augmentation
    training: TrainingSpec

    def adjusted(self, steps: int | None, total_batch: int | None) -> Recipe:
        """The recipe with what a command line may say otherwise: images a step, then steps; None keeps the recipe's."""
        training = self.training if total_batch is None else self.training.with_total_batch(total_batch)
        if steps is not None:
            training = dataclasses.replace(training, steps=steps)
        return dataclasses.replace(self, training=training)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready record, for `recipe.json`."""
        return {
            "model": self.model.to_dict(),
            "sampling": dataclasses.asdict(self.sampling),
            "augmentation": dataclasses.asdict(self.augmentation),
            "training": dataclasses.asdict(self.training),
        }
