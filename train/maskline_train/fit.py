"""The training loop, to be read from top to bottom: setup, then steps, each with its evaluation and checkpoint.

OUT/recipe.json, metrics.jsonl, train.log, tensorboard/, pictures/, and the checkpoints last and best; the command adds
report.html and report.json.
Under torchrun the same function runs in every process; process 0 writes.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from maskline_command.console import waiting
from maskline_command.wording import counted
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from maskline_train.data.coco import CocoDataset
from maskline_train.data.loader import Batch, check_keypoints, shown_images, train_loader
from maskline_train.distributed import Processes, average_norm_statistics, barrier
from maskline_train.evaluation.evaluate import Metrics
from maskline_train.files import replace_file
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import Recipe, TrainingSpec
from maskline_train.starting_weights import start_from
from maskline_train.training.evaluation import evaluate_step
from maskline_train.training.interruption import Interrupted, Signals
from maskline_train.training.metrics_log import MetricsLog
from maskline_train.training.prefetch import on_device
from maskline_train.training.report import Reports
from maskline_train.training.stage import Stage
from maskline_train.training.state import (
    Averages,
    TrainingState,
    has_checkpoint,
    restore,
    save_checkpoint,
    save_evaluation,
)
from maskline_train.training.step import compile_parts, make_gradients, train_step

# What may differ between a run and its continuation; more `steps` stretch the rest of a cosine, how a GPU computes
# changes the last bits there, nothing else changes.
FREE_TO_CHANGE = (
    *("steps", "workers", "log_every", "checkpoint_every", "evaluate_every", "evaluate_images"),
    *("compile", "cudnn_benchmark", "fused", "graph"),
)

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainingSpec)}


def fit(
    recipe: Recipe,
    train_set: CocoDataset,
    val_set: CocoDataset,
    out: Path,
    processes: Processes,
    *,
    init: Path | None = None,
    resume: bool = False,
    stage: Stage | None = None,
) -> Metrics | None:
    """Train a model.

    Args:
        recipe: everything that decides the result.
        train_set: what is learned from.
        val_set: what is evaluated on, same classes.
        out: the run's folder.
        processes: from `process_group()`.
        init: a checkpoint folder, or a file of weights, to start from; where it does not fit stays random.
        resume: go on from `out/last` where there is one. Losses are those of a run that was never stopped: bit for
            bit on a CPU with as many processes and threads.
        stage: train parts of the model alone; None: all of it, end to end.

    Returns:
        The last evaluation of this call; None when the run was finished already, or its stage has nothing to evaluate.

    Raises:
        ValueError: a recipe, data set, checkpoint or folder that does not fit; nothing has been changed. Or a step that
            cannot be recorded (`TrainingSpec.graph`); the checkpoints are those from before.
        NonFiniteLossError: training diverged; the checkpoints are those from before.
        Interrupted: a signal came; `out/last` holds the finished step, and whether its evaluation is still due.
    """
    training = recipe.training
    state = set_up(recipe, processes, stage)
    with waiting("looking at the headers of all images", shown=processes.is_main):
        _check(recipe, train_set, val_set, out, processes, resume=resume)
    beginning = "started from random weights"
    if resume and has_checkpoint(out):
        restore(out, state)
        beginning = f"resumed from step {state.step} of {out / 'last'}"
    elif init is not None:
        beginning = start_from(init, state.model)
        state.renew_averages()
    if stage is not None and state.step == 0:
        beginning += stage.prepare(state.model)
        state.renew_averages()
    barrier()  # nobody writes before everybody has read
    if processes.is_main:
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / "recipe.json", (json.dumps(recipe.to_dict(), indent=2) + "\n").encode())
    log = MetricsLog(out, first_step=state.step, steps=training.steps, active=processes.is_main)
    with log, Signals(announce=processes.is_main) as signals:
        log.say(train_set.describe())
        log.say(beginning)
        for line in _describe(recipe, state.model, train_set, processes):
            log.say(line)
        network = _distribute(state.model if stage is None else stage.network(state.model), processes)
        gradients = make_gradients(network, state, training, processes)
        batches = on_device(batches_from(recipe, train_set, processes, state.step), processes.device)
        reports = Reports(training, processes)
        metrics = None
        while state.step < training.steps or state.evaluation_due:
            stop = 0
            if not state.evaluation_due:  # else the run was stopped before or in the evaluation of this step
                reports.add(train_step(gradients, state, next(batches), training, processes))
                state.step += 1
                log.count(state.step, training.total_batch)
                logs = state.step % training.log_every == 0 or state.step == training.steps
                evaluates = stage is None or stage.evaluates
                due = state.step % training.evaluate_every == 0 or state.step == training.steps
                saves = due or state.step % training.checkpoint_every == 0
                if logs or saves or reports.due(signals.received):  # nothing is saved before it is known to be finite
                    values, stop = reports.read(signals.received)
                    log.train(state.step, values, record=logs)
                state.evaluation_due = evaluates and due
                _save(out, state, processes, log, needed=saves or stop > 0)
            if state.evaluation_due and not stop:
                started = time.perf_counter()
                metrics, best, stop = evaluate_step(state, val_set, training, processes, log, out, stage, signals)
                if not stop and processes.is_main:
                    save_evaluation(out, state, best=best)
                barrier()
                log.pause(time.perf_counter() - started)
            if stop and (state.step < training.steps or state.evaluation_due):
                raise Interrupted(stop, state.step)
    return metrics


def _save(out: Path, state: TrainingState, processes: Processes, log: MetricsLog, *, needed: bool) -> None:
    """Write a checkpoint where it is needed: before an evaluation, which may take long and be stopped."""
    if not needed:
        return
    started = time.perf_counter()
    average_norm_statistics(state.model)
    if processes.is_main:
        save_checkpoint(out, state)
    barrier()
    log.pause(time.perf_counter() - started)


def set_up(recipe: Recipe, processes: Processes, stage: Stage | None) -> TrainingState:
    """Model, optimizer and what goes with them, before the first step; the same weights in every process."""
    training = recipe.training
    torch.manual_seed(training.seed)
    model = MaskRCNN(recipe.model, recipe.sampling).train().to(processes.device)
    if training.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if processes.device.type == "cuda":
        torch.backends.cudnn.benchmark = training.cudnn_benchmark
        if training.compile:
            compile_parts(model)
    if stage is not None:
        stage.freeze(model)
    scaler = GradScaler(processes.device.type, enabled=training.amp == "fp16" and processes.device.type == "cuda")
    averages = None if training.ema_decay is None else Averages(model, training.ema_decay)
    return TrainingState(model, training.build_optimizer(model, processes.device), scaler, averages)


def _check(
    recipe: Recipe, train_set: CocoDataset, val_set: CocoDataset, out: Path, processes: Processes, *, resume: bool
) -> None:
    """Refuse, before anything is written, what could only fail later."""
    processes.share_of(recipe.training.total_batch)
    for dataset in (train_set, val_set):
        if dataset.classes != recipe.model.classes:
            raise ValueError(
                f"{dataset.annotation_file}: got classes {', '.join(dataset.classes)}, expected those of the recipe, "
                f"{', '.join(recipe.model.classes)}; both splits need the same categories"
            )
        if recipe.model.keypoint_head is not None:
            check_keypoints(dataset, recipe.model.keypoint_head)
        dataset.check_headers(range(processes.rank, len(dataset), processes.world))
    if recipe.training.amp == "fp16" and processes.device.type != "cuda":
        raise ValueError("amp: got 'fp16' without a GPU, expected 'bf16' or 'off' there; change the recipe")
    if not has_checkpoint(out):
        return
    if not resume:
        raise ValueError(f"{out}: holds a run already; add --resume to go on with it, or choose another --out")
    _check_same_recipe(json.loads((out / "recipe.json").read_text(encoding="utf-8")), recipe, out)


def _check_same_recipe(before: dict[str, Any], recipe: Recipe, out: Path) -> None:
    """Refuse to go on with a run under a recipe that would have made it another run."""
    now = json.loads(json.dumps(recipe.to_dict()))
    before["training"] = {**_DEFAULTS, **before["training"]}  # an older release wrote without what was not there
    for part in now:
        for name in sorted(set(before[part]) | set(now[part])):
            old, new = before[part].get(name), now[part].get(name)
            if old != new and name not in FREE_TO_CHANGE:
                raise ValueError(
                    f"{out / 'recipe.json'}: got {part}.{name} = {old}, the recipe now says {new}; resume with the "
                    f"recipe that began the run, or start anew in another --out"
                )


def _describe(recipe: Recipe, model: MaskRCNN, train_set: CocoDataset, processes: Processes) -> Iterator[str]:
    """One line: what runs where; another one where a batch is larger than the set, which is hardly meant."""
    training = recipe.training
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    yield (
        f"{trained / 1e6:.1f} M trained parameters, {training.steps} steps of {training.total_batch} images on "
        f"{processes.world} x {processes.device.type}, learning rate {training.peak_lr:g} after "
        f"{training.warmup_steps} steps of warm-up, amp {training.amp}"
    )
    shown = len(shown_images(train_set, recipe.model.keypoint_head, keep_empty=training.keep_empty))
    if training.total_batch > shown:
        yield (
            f"note: a step has {training.total_batch} images and the set {counted(shown, 'image')} to learn from, so a "
            "step shows some of them more than once; --total-batch sets fewer"
        )


def _distribute(network: nn.Module, processes: Processes) -> nn.Module:
    """The module whose backward pass averages gradients over the processes; the network itself for one process."""
    if processes.world == 1:
        return network
    devices = None if processes.device.index is None else [processes.device.index]
    # Buffers are not broadcast: `average_norm_statistics` makes them one where it matters.
    return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def batches_from(recipe: Recipe, train_set: CocoDataset, processes: Processes, step: int) -> Iterator[Batch]:
    """This process's share of every batch from step `step` on."""
    return train_loader(
        train_set,
        recipe.model.preprocessing,
        batch_size=processes.share_of(recipe.training.total_batch),
        seed=recipe.training.seed,
        augmentation=recipe.augmentation,
        keypoint_head=recipe.model.keypoint_head,
        keep_empty=recipe.training.keep_empty,
        workers=recipe.training.workers,
        rank=processes.rank,
        world_size=processes.world,
        start_batch=step,
        pin_memory=processes.device.type == "cuda",
    )
