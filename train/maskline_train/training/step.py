"""One optimizer step, to be read from top to bottom, without a question to a GPU; what it says of itself is read later.

Ref: paper section 3; Micikevicius et al. 2018 (Mixed Precision Training) for the scaler of fp16, which asks once a step
whether a gradient is infinite.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from maskline_train.data.loader import Batch
from maskline_train.distributed import Processes
from maskline_train.ground_truth import GroundTruth
from maskline_train.model.draws import image_keys
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import TrainingSpec
from maskline_train.training.graphs import CudaRecorder, Inputs, Losses, StepGraphs
from maskline_train.training.report import Report
from maskline_train.training.state import TrainingState

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Graphs of a part, twice five in training and evaluation and as many for an incomplete batch; beyond torch's own limit,
# 8, what is new would run uncompiled without a word.
_MOST_COMPILED = 64


def make_gradients(
    network: nn.Module, state: TrainingState, training: TrainingSpec, processes: Processes
) -> Callable[[Inputs], Losses]:
    """What computes losses and gradients in a run: by recordings where the recipe has it so, on one GPU.

    Args:
        network: the model, a stage of it, or either distributed; it gives the losses.
        state: whose model it is.
        training: precision, whether steps are recorded.
        processes: of the run.
    """
    recorded = training.graph and processes.device.type == "cuda" and processes.world == 1
    compute = functools.partial(gradients, network, state, training.amp, keep=recorded)
    return StepGraphs(compute, CudaRecorder()) if recorded else compute


def gradients(network: nn.Module, state: TrainingState, amp: str, inputs: Inputs, *, keep: bool = False) -> Losses:
    """Forward and backward: gradients in the parameters, and the losses, their sum `loss` before the others.

    Args:
        network: as `make_gradients`.
        state: whose model it is.
        amp: as `TrainingSpec` has it.
        inputs: canvas, image_info, keys of the draws, and the columns of `GroundTruth`.
        keep: gradients stay where they are in memory from step to step, as recordings need it.
    """
    canvas, image_info, keys, *truth = inputs
    assert canvas is not None
    with torch.autocast(canvas.device.type, AMP_DTYPES.get(amp), enabled=amp != "off"):
        losses: Losses = network(canvas, image_info, GroundTruth._make(truth), keys)
    loss = torch.stack(list(losses.values())).sum()
    state.optimizer.zero_grad(set_to_none=not keep)
    state.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    return {"loss": loss.detach(), **{name: each.detach() for name, each in losses.items()}}


def train_step(
    compute: Callable[[Inputs], Losses],
    state: TrainingState,
    batch: Batch,
    training: TrainingSpec,
    processes: Processes,
) -> Report:
    """Forward, backward, update; `state.step` steps were done before.

    Args:
        compute: from `make_gradients`.
        state: whose model and optimizer change.
        batch: of this process, on its device.
        training: rate, clipping.
        processes: of the run.
    """
    rate = training.learning_rate(state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    keys = _keys(batch, state.step, training, processes)
    assert batch.truth is not None  # of batches of evaluation alone
    losses = compute([batch.canvas, batch.image_info, keys, *batch.truth])
    state.scaler.unscale_(state.optimizer)
    limit = math.inf if training.clip_norm is None else training.clip_norm
    norm = nn.utils.clip_grad_norm_(state.model.parameters(), limit)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.averages is not None:
        state.averages.update(state.model)
    numbers = torch.stack([*losses.values(), norm]).detach().float()
    return Report(state.step + 1, (*losses, "grad_norm"), numbers, rate)


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
