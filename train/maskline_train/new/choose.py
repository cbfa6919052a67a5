"""A whole recipe for a set and a machine, with the reasons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from maskline_train.data.coco import CocoDataset
from maskline_train.new.choices.anchors import anchor_choices
from maskline_train.new.choices.choice import Choice
from maskline_train.new.choices.numbers import number_choices
from maskline_train.new.choices.schedule import (
    ENOUGH_STEPS,
    batch_choices,
    batch_in_time,
    batch_of,
    step_choices,
    steps_in_time,
)
from maskline_train.new.choices.sizes import NetworkSize, network_size, size_choices, smaller_size, tile_px
from maskline_train.new.choices.varying import varying_choices
from maskline_train.new.machine import Machine
from maskline_train.new.probe import Probe, probe
from maskline_train.new.start import Start
from maskline_train.new.survey import Survey
from maskline_train.recipe import Recipe


class Chosen(NamedTuple):
    """What was chosen.

    Attributes:
        recipe: the run.
        reasons: by field; empty where it follows from the field before.
        size: of pictures and objects for the network.
        tile_px: the side of tiles that the pictures should be cut into first; None: they are well as they are.
        probe: what a step took.
    """

    recipe: Recipe
    reasons: dict[str, str]
    size: NetworkSize
    tile_px: int | None
    probe: Probe


def choose(
    start: Start, found: Survey, train_set: CocoDataset, machine: Machine, minutes: float, evaluated: int
) -> Chosen:
    """Fit a recipe to a set.

    Args:
        start: the network that training starts from.
        found: what the training split looks like.
        train_set: the same split, for the steps that are timed.
        machine: what trains.
        minutes: that training may take.
        evaluated: images of the validation split.

    Raises:
        ValueError: the start fits nothing, or one image a step is too much for the GPU.
    """
    size = network_size(found, start.room)
    slower = list[Choice]()  # what time and memory made of the batch; smaller pictures begin with that
    while True:
        choices = [*_choices_at(size, start.recipe, found), *batch_choices(found, machine)]
        recipe = with_choices(start.recipe, choices)
        measured, slower = _timed(recipe, slower, train_set, start, machine, minutes, evaluated)
        recipe = with_choices(recipe, slower)
        share = steps_in_time(recipe.training.total_batch, measured.step_s, minutes, evaluated) / ENOUGH_STEPS
        smaller = smaller_size(found, start.room, size, share) if share < 1 else None
        if smaller is None:
            break
        size = smaller
    steps = step_choices(found, recipe.training.total_batch, measured, minutes, evaluated)
    reasons = {choice.field: choice.reason for choice in (*choices, *slower, *steps)}
    return Chosen(with_choices(recipe, steps), reasons, size, tile_px(found, size, start.room), measured)


def _choices_at(size: NetworkSize, recipe: Recipe, found: Survey) -> list[Choice]:
    """What follows from the objects, as large as the network sees them."""
    model = recipe.model
    scales = found.scales(size.shorter_side_px, size.longer_side_px)
    return [
        *size_choices(found, size, model.preprocessing),
        *anchor_choices(found, scales, model.anchors, len(model.backbone.rpn_levels)),
        *number_choices(found, model, recipe.sampling),
        *varying_choices(found, size.shorter_side_px),
    ]


def with_choices(recipe: Recipe, choices: Sequence[Choice]) -> Recipe:
    """The recipe with the chosen values in their fields, all at once: some are checked against each other."""
    values = {choice.field: choice.value for choice in choices}
    changed: Recipe = _replaced(recipe, values)
    return changed


def _replaced(whole: Any, values: dict[str, Any]) -> Any:
    """A dataclass with fields of it, and of its parts, replaced; values by `part.field` or `field`."""
    parts: dict[str, dict[str, Any]] = {}
    own = {}
    for field, value in values.items():
        first, _, rest = field.partition(".")
        if rest:
            parts.setdefault(first, {})[rest] = value
        else:
            own[first] = value
    inside = {name: _replaced(getattr(whole, name), rest) for name, rest in parts.items()}
    return dataclasses.replace(whole, **own, **inside)


def _timed(
    recipe: Recipe,
    slower: list[Choice],
    train_set: CocoDataset,
    start: Start,
    machine: Machine,
    minutes: float,
    evaluated: int,
) -> tuple[Probe, list[Choice]]:
    """Time steps, with fewer images in each as memory and time want it, and the choices for that.

    Args:
        recipe: what is timed.
        slower: choices of the batch that were made already.
        train_set: what is learned from.
        start: as of `choose`, and the rest.
        machine: what trains.
        minutes: that training may take.
        evaluated: images of the validation split.
    """
    while True:
        recipe = with_choices(recipe, slower)
        batch = recipe.training.total_batch
        try:
            measured = probe(recipe, train_set, start.init, machine.device)
        except torch.OutOfMemoryError as error:
            if batch == 1:
                raise ValueError(
                    f"{machine.gpu}: got too little memory for a step of one image, expected "
                    f"{recipe.model.preprocessing.longer_side_px} px to fit; end what else uses it, or take --cpu"
                ) from error
            torch.cuda.empty_cache()
            slower = batch_of(batch // 2, "What the GPU's memory holds: twice as many did not fit.")
            continue
        fitting = batch_in_time(batch, measured.step_s, minutes, evaluated)
        if fitting == batch:
            return measured, slower
        slower = batch_of(fitting, f"More would leave less than {ENOUGH_STEPS} steps for --minutes {minutes:g}.")
