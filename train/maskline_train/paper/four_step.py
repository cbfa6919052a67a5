"""Training in stages: the region proposal network and the heads one after the other, with or without a shared trunk.

    OUT/1-rpn      trunk A and RPN, from the starting weights
    OUT/2-heads    trunk B and heads, from the starting weights, on the proposals of 1
    OUT/3-rpn      the RPN of 1 goes on, on trunk B, which is frozen from here on
    OUT/4-heads    the heads of 2 go on, on trunk B and the proposals of 3
    OUT/last, OUT/best   links to those of 4: one ordinary model, its RPN and heads trained on the same frozen trunk

Without sharing, the paper's default, the first two stages are all: two networks, 1 proposes, 2 detects.

Ref: paper sections 3.1 and 4.4 (ledger P35, P36); Faster R-CNN (Ren et al. 2015), section 3.2, "4-Step Alternating
Training". Neither says how long the last two steps train: as long as the first two here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from maskline_train.checkpoint import load_model
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes, barrier
from maskline_train.evaluation.evaluate import Metrics
from maskline_train.files import point
from maskline_train.fit import fit
from maskline_train.model.mask_rcnn import MaskRCNN
from maskline_train.recipe import Recipe
from maskline_train.training.stage import Stage
from maskline_train.training.state import BEST, LAST, has_checkpoint

FOLDERS = ("1-rpn", "2-heads", "3-rpn", "4-heads")


def four_step(
    recipe: Recipe,
    train_set: CocoDataset,
    val_set: CocoDataset,
    out: Path,
    processes: Processes,
    *,
    init: Path | None = None,
    resume: bool = False,
    shared: bool = True,
) -> Metrics | None:
    """Train a model in stages, each by the whole recipe.

    Args:
        recipe: of every stage; each of them adds its number to the seed.
        train_set: what is learned from.
        val_set: what the heads are evaluated on.
        out: the folder of the stages' runs.
        processes: from `process_group()`.
        init: what both trunks start from, usually a classifier's weights.
        resume: go on in the stage that was interrupted.
        shared: False stops after the first two stages.

    Returns:
        The last evaluation; None when everything was finished already.

    Raises:
        ValueError, NonFiniteLossError, Interrupted: as `fit`.
    """
    if has_checkpoint(out / FOLDERS[0]) and not resume:
        raise ValueError(f"{out}: holds a run already; add --resume to go on with it, or choose another --out")

    def run(number: int, stage: Stage, start: Path | None) -> Metrics | None:
        training = dataclasses.replace(recipe.training, seed=recipe.training.seed + number)
        of_stage = dataclasses.replace(recipe, training=training)
        folder = out / FOLDERS[number]
        return fit(of_stage, train_set, val_set, folder, processes, init=start, resume=resume, stage=stage)

    def trained(number: int) -> MaskRCNN:
        return load_model(out / FOLDERS[number] / LAST).to(processes.device)

    run(0, Stage("rpn", trunk_trains=True), init)
    metrics = run(1, Stage("heads", trunk_trains=True, proposer=trained(0)), init)
    if not shared:
        return metrics
    run(2, Stage("rpn", trunk_trains=False), out / FOLDERS[1] / LAST)
    metrics = run(3, Stage("heads", trunk_trains=False), out / FOLDERS[2] / LAST)
    if processes.is_main:
        for link in (LAST, BEST):
            point(out / link, out / FOLDERS[3] / link)
    barrier()
    return metrics
