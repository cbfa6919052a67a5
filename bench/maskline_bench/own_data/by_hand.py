"""Recipes that a person would try on a set, each for as long as that of `maskline-train new`, and training by one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from maskline_train.data.coco import CocoDataset
from maskline_train.distributed import Processes
from maskline_train.fit import fit
from maskline_train.new.choices.choice import Choice
from maskline_train.new.choices.schedule import batch_of, step_choices
from maskline_train.new.choices.sizes import NetworkSize, size_choices
from maskline_train.new.choose import with_choices
from maskline_train.new.machine import this_machine
from maskline_train.new.probe import probe
from maskline_train.new.start import start_for
from maskline_train.new.survey import survey
from maskline_train.recipe import Recipe
from maskline_train.recipes.finetune import finetune_cpu


@dataclasses.dataclass(frozen=True)
class ByHand:
    """One try.

    Attributes:
        side_px: the shorter side of pictures for the network.
        images: a step.
        rate: the learning rate.
    """

    side_px: int
    images: int
    rate: float

    @property
    def name(self) -> str:
        """E.g. `256 px, 4 images, rate 0.001`."""
        return f"{self.side_px} px, {self.images} images, rate {self.rate:g}"


TRIES = (ByHand(256, 4, 1e-3), ByHand(384, 4, 1e-3), ByHand(384, 2, 2e-3), ByHand(576, 2, 1e-3))


def recipe_by_hand(tried: ByHand, data: Path, minutes: float) -> Recipe:
    """`finetune_cpu` at that size, batch and rate, with as many steps as the minutes hold on this machine."""
    train, val = (CocoDataset(data, split) for split in ("train", "val"))
    found = survey(train)
    aspect = float(np.median(found.sizes.max(axis=1) / found.sizes.min(axis=1)))
    longer = round(tried.side_px * aspect / 32) * 32
    start = finetune_cpu.build(train.classes)
    size = NetworkSize(tried.side_px, longer, object_px=0.0, small_px=0.0)  # what it makes of objects is not asked
    recipe = with_choices(
        start,
        [
            *size_choices(found, size, start.model.preprocessing),
            Choice("augmentation.shorter_side_px", (round(0.7 * tried.side_px), tried.side_px), ""),
            *batch_of(tried.images, ""),
            Choice("training.base_lr", tried.rate, ""),
        ],
    )
    machine = this_machine(use_gpu=False)
    measured = probe(recipe, train, start_for(found, machine, None).init, machine.device)
    return with_choices(recipe, step_choices(found, recipe.training.total_batch, measured, minutes, len(val)))


def train_from_seed(recipe: Recipe, data: Path, out: Path, seed: int) -> None:
    """Train by it, from the base checkpoint, on the processor; `seed` draws new layers, the order and variations."""
    train, val = (CocoDataset(data, split) for split in ("train", "val"))
    init = start_for(survey(train), this_machine(use_gpu=False), None).init
    recipe = with_choices(recipe, [Choice("training.seed", seed, "")])
    fit(recipe, train, val, out, Processes(0, 1, torch.device("cpu")), init=init)
