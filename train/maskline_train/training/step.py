"""One optimizer step, to be read from top to bottom, without a question to a GPU; what it says of itself is read later.

Ref: paper section 3; Micikevicius et al. 2018 (Mixed Precision Training) for the scaler of fp16, which asks once a step
whether a gradient is infinite.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from maskline_train.data.loader import Batch
from maskline_train.distributed import Processes
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import TrainingSpec
from maskline_train.training.report import Report
from maskline_train.training.state import TrainingState

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Graphs of a part, twice five in training and evaluation and as many for an incomplete batch; beyond torch's own limit,
# 8, what is new would run uncompiled without a word.
_MOST_COMPILED = 64


def train_step(
    network: nn.Module, state: TrainingState, batch: Batch, training: TrainingSpec, processes: Processes
) -> Report:
    """Forward, backward, update; `state.step` steps were done before.

    Args:
        network: the model, a stage of it, or either distributed; it gives the losses.
        state: whose model and optimizer change.
        batch: of this process, on its device.
        training: rate, precision, clipping.
        processes: of the run.
    """
    rate = training.learning_rate(state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    keys = _keys(batch, state.step, training, processes)
    with torch.autocast(processes.device.type, AMP_DTYPES.get(training.amp), enabled=training.amp != "off"):
        losses: dict[str, Tensor] = network(batch.canvas, batch.image_info, batch.truth, keys)
    loss = torch.stack(list(losses.values())).sum()
    state.optimizer.zero_grad()
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    state.scaler.unscale_(state.optimizer)
    limit = math.inf if training.clip_norm is None else training.clip_norm
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), limit)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.averages is not None:
        state.averages.update(state.model)
    numbers = torch.stack([loss, *losses.values(), norm]).detach().float()
    return Report(state.step + 1, ("loss", *losses, "grad_norm"), numbers, rate)


def _keys(batch: Batch, step: int, training: TrainingSpec, processes: Processes) -> Tensor:
    """What the samples of the step are drawn by, of each image by its number in the batch of all processes."""
    first = processes.rank * len(batch.canvas)
    keys = image_keys(training.seed, step, range(first, first + len(batch.canvas)))
    if processes.device.type == "cuda":  # from other memory the copy would wait for what runs
        keys = keys.pin_memory()
    return keys.to(processes.device, non_blocking=True)


def compile_parts(model: MaskRCNN) -> None:
    """Let torch's compiler make the kernels of trunk and heads, where nearly all arithmetic is; in place.

    A part is compiled when it first runs, and anew for another size until torch takes that size for a variable, then
    once for each parity of the coarsest level's height and width, as the pyramid halves it; and all of that again for
    evaluation. Minutes at the start of a run. Weights keep their names.
    """
    torch._dynamo.config.recompile_limit = _MOST_COMPILED
    parts = (model.backbone, model.rpn_head, model.res5, model.box_head, model.mask_head, model.keypoint_head)
    for part in parts:
        if part is not None:
            part.compile()
