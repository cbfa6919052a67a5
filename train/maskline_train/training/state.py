"""Checkpoints of a run: written whole or not at all, the last and the best kept, resumed exactly.

    DIR/checkpoints/step-00004000/   model.safetensors model.json training_state.pt evaluation.json
    DIR/last, DIR/best               symbolic links into checkpoints/

A checkpoint is written under a temporary name, flushed to the disk and renamed, then the link is swapped by one
rename: a kill at any moment leaves `last` at a complete checkpoint. Nothing random is stored, because a step draws
by the seed and its own number (`model.draws`).
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from maskline_train.checkpoint import save_model
from maskline_train.files import flush, naming, point, replace_file
from maskline_train.model.mask_rcnn import MaskRCNN

CHECKPOINTS, LAST, BEST = "checkpoints", "last", "best"
EVALUATION = "evaluation.json"  # in a checkpoint that was written before its evaluation, once that is done


class Averages:
    """The exponential moving average of a model's parameters and buffers. Letters: d decay, n updates done.

    The decay starts lower, min(d, (1 + n) / (10 + n)), so that the start of the run is forgotten quickly.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the averages towards the weights of this step."""
        weight = 1.0 - min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        self.updates += 1
        for name, value in model.state_dict().items():
            average = self.values[name]
            if average.is_floating_point():
                average.lerp_(value.to(average.dtype), weight)
            else:
                average.copy_(value)

    def swap(self, model: nn.Module) -> None:
        """Exchange the weights of `model` with the averages; a second call exchanges them back."""
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.values)
        self.values = weights


@dataclasses.dataclass
class TrainingState:
    """What changes during a run. `step` counts finished optimizer steps."""

    model: MaskRCNN
    optimizer: torch.optim.Optimizer
    scaler: GradScaler
    averages: Averages | None
    step: int = 0
    best_ap: float = -1.0  # mask AP of the best evaluation, 0..1; -1 before the first
    evaluation_due: bool = False  # of this step; true in checkpoints that are written before it

    def renew_averages(self) -> None:
        """Begin the averages anew, after the model was given other weights."""
        if self.averages is not None:
            self.averages = Averages(self.model, self.averages.decay)


def save_checkpoint(out: Path, state: TrainingState) -> Path:
    """Write the state of the run as `out/last`.

    With averages, `model.safetensors` holds the averaged weights and `training_state.pt` the trained ones.
    Checkpoints that are neither last nor best are removed.
    """
    folder = out / CHECKPOINTS / f"step-{state.step:08d}"
    if not folder.exists():
        _write_folder(folder, state)
    point(out / LAST, folder)
    _remove_others(out)
    return folder


def save_evaluation(out: Path, state: TrainingState, *, best: bool) -> None:
    """Note in `out/last` that its evaluation is done, and make it `out/best` too where `best`."""
    folder = (out / LAST).resolve()
    if best:
        point(out / BEST, folder)
    replace_file(folder / EVALUATION, (json.dumps({"best_ap": state.best_ap}) + "\n").encode())
    _remove_others(out)


def restore(out: Path, state: TrainingState) -> None:
    """Put the state of `out/last` into `state`, in place.

    Raises:
        ValueError: the checkpoint does not fit this model or optimizer.
    """
    folder = out / LAST
    saved: dict[str, Any] = torch.load(folder / "training_state.pt", map_location="cpu", weights_only=True)
    if (state.averages is None) != (saved["averaged"] is None):
        raise ValueError(f"{folder}: got a checkpoint of another EMA setting; resume with the recipe that wrote it")
    shown = safetensors.torch.load_file(folder / "model.safetensors")
    try:
        state.model.load_state_dict(shown if saved["averaged"] is None else saved["averaged"]["trained"])
        kernels = [group["fused"] for group in state.optimizer.param_groups]
        state.optimizer.load_state_dict(saved["optimizer"])
        for group, fused in zip(state.optimizer.param_groups, kernels, strict=True):
            group["fused"] = fused  # how this run computes, not how the one before did
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{folder}: does not fit this recipe ({reason}); resume with the recipe that wrote it"
        ) from error
    state.scaler.load_state_dict(saved["scaler"])
    if state.averages is not None:
        state.averages.updates = saved["averaged"]["updates"]
        state.averages.values = {name: shown[name].to(value.device) for name, value in state.averages.values.items()}
    state.step, state.best_ap = saved["step"], saved["best_ap"]
    state.evaluation_due = saved.get("evaluation_due", False)  # older releases wrote after the evaluation alone
    if state.evaluation_due and (folder / EVALUATION).is_file():
        state.best_ap = json.loads((folder / EVALUATION).read_text(encoding="utf-8"))["best_ap"]
        state.evaluation_due = False


def has_checkpoint(out: Path) -> bool:
    """True where `out` holds a run that can be resumed."""
    return (out / LAST / "training_state.pt").is_file()


def _write_folder(folder: Path, state: TrainingState) -> None:
    """Write a checkpoint folder under a temporary name, flush it, rename it."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with naming(folder, temporary):
            _fill(temporary, folder, state)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    flush(folder.parent)


def _fill(temporary: Path, folder: Path, state: TrainingState) -> None:
    """Write the files of a checkpoint that will be `folder`."""
    temporary.mkdir(parents=True)
    averaged = None
    if state.averages is None:
        save_model(temporary, state.model)
    else:
        trained = {name: value.detach().clone() for name, value in state.model.state_dict().items()}
        averaged = {"trained": trained, "updates": state.averages.updates}
        state.averages.swap(state.model)
        save_model(temporary, state.model)
        state.averages.swap(state.model)
    saved = {
        "step": state.step,
        "best_ap": state.best_ap,
        "evaluation_due": state.evaluation_due,
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "averaged": averaged,
    }
    with naming(folder / "training_state.pt"):
        torch.save(saved, temporary / "training_state.pt")
    for path in temporary.iterdir():
        flush(path)
    flush(temporary)


def _remove_others(out: Path) -> None:
    """Remove checkpoints, and half-written ones of a killed process, that no link points at."""
    kept = {(out / link).resolve() for link in (LAST, BEST)}
    for folder in (out / CHECKPOINTS).iterdir():
        if folder.resolve() not in kept:
            shutil.rmtree(folder)
