"""What training starts from, and the recipe that is fitted to a set."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

from maskline_train.checkpoint import SPEC_FILE
from maskline_train.new.choices.sided import sides
from maskline_train.new.choices.sizes import CPU, GPU, Room
from maskline_train.new.machine import Machine
from maskline_train.new.survey import Survey
from maskline_train.recipe import Recipe
from maskline_train.recipes.finetune import finetune_cpu, finetune_gpu
from maskline_train.spec import KeypointHeadSpec
from maskline_train.starting_weights import network_of

_PACKAGED = Path(__file__).parents[1] / "base"  # in a wheel
_IN_CLONE = Path(__file__).parents[3] / "demo" / "base"


class Start(NamedTuple):
    """A checkpoint to train on from.

    Attributes:
        init: its folder.
        recipe: its network for the set's classes, with the optimisation that suits it.
        room: how large pictures may be.
    """

    init: Path
    recipe: Recipe
    room: Room


def start_for(found: Survey, machine: Machine, init: Path | None) -> Start:
    """The start, by `init` or the base checkpoint that comes with this package.

    The base checkpoint is slim and trains as on a CPU, on a GPU too.

    Raises:
        ValueError: no checkpoint folder.
    """
    large = bool(machine.gpu) and init is not None
    init = init or _packaged()
    recipe = (finetune_gpu if large else finetune_cpu).build(found.classes)
    model = network_of(init, found.classes)
    if found.keypoint_names != (model.keypoint_head.names if model.keypoint_head else ()):
        model = dataclasses.replace(model, keypoint_head=_keypoint_head(found.keypoint_names, slim=not large))
    return Start(init, dataclasses.replace(recipe, model=model), GPU if large else CPU)


def _packaged() -> Path:
    """The folder of the base checkpoint, by its shortest name from here."""
    for folder in (_PACKAGED, _IN_CLONE):
        if (folder / SPEC_FILE).is_file():
            here = Path.cwd()
            return folder.relative_to(here) if folder.is_relative_to(here) else folder
    raise ValueError(
        f"--init: got none, and there is no base checkpoint in {_PACKAGED} or {_IN_CLONE}; expected a checkpoint "
        "folder to start from"
    )


def _keypoint_head(names: tuple[str, ...], *, slim: bool) -> KeypointHeadSpec | None:
    """A keypoint branch; a mirror swaps what is named left and right."""
    if not names:
        return None
    pairs = sides(names)
    if slim:
        return KeypointHeadSpec(names=names, flip_pairs=pairs, num_convs=4, channels=64)
    return KeypointHeadSpec(names=names, flip_pairs=pairs)
