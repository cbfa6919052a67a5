"""What a recipe cannot mend: too few pictures, objects that stay too small, time that is too short."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from maskline_train.data.check.findings import in_both, said_of_both, said_of_dark
from maskline_train.data.coco import CocoDataset
from maskline_train.data.images import is_nearly_black
from maskline_train.data.next_commands import new_command_line
from maskline_train.new.choices.schedule import LEAST_STEPS, times
from maskline_train.new.choose import Chosen
from maskline_train.new.survey import Survey

_FEW_OBJECTS = 20  # of a class: its score then hangs on single objects
_NAMED = 20  # classes that are listed
_LOOKED_AT = 16  # pictures
_COUNTED = 100  # detections of an image that the COCO metric counts


def advice(chosen: Chosen, found: Survey, dataset: CocoDataset, judged: CocoDataset) -> Iterator[str]:
    """A line for each thing that is better done before training, or known."""
    looked_at = np.unique(np.linspace(0, len(dataset) - 1, _LOOKED_AT).round().astype(int)).tolist()
    dark = sum(is_nearly_black(dataset.image(index)) for index in looked_at)
    if dark:
        yield said_of_dark(dark, len(looked_at))
    if shared := in_both(dataset, judged):
        yield f"{shared[0]}: {said_of_both(shared, dataset, judged)}"
    if chosen.tile_px is not None:
        yield (
            f"a tenth of the objects is below {chosen.size.small_px:.0f} px for the network, the middle one "
            f"{chosen.size.object_px:.0f} px; larger in tiles of {chosen.tile_px} px"
        )
    most = int(found.objects_per_image.max())
    if most > _COUNTED and chosen.tile_px is None:
        yield f"the fullest picture has {most} objects; the COCO metric counts {_COUNTED} detections of an image"
    few = [f"{name} ({count})" for name, count in found.counts.items() if count < _FEW_OBJECTS]
    if few:
        more = f" and {len(few) - _NAMED} more" if len(few) > _NAMED else ""
        yield f"classes with few objects, which may not be learned: {', '.join(few[:_NAMED])}{more}"
    training = chosen.recipe.training
    passes = training.steps * training.total_batch / (len(found.sizes) - found.num_empty)
    if passes < 1 or training.steps == LEAST_STEPS:
        yield f"{training.steps} steps see the set {times(passes)} times; more --minutes make a better model"


def cut_first(tile_px: int, data: Path, train_split: str, val_split: str, annotations: str) -> str:
    """The commands that cut the pictures and choose anew."""
    tiles = data.with_name(f"{data.name}-tiles")
    words = ["maskline-train", "data", "tiles", data, tiles, "--size", tile_px]
    if (train_split, val_split) != ("train", "val"):
        words += ["--split", train_split, "--split", val_split]
    words += [] if annotations == "instances" else ["--annotations", annotations]
    return f"{shlex.join(map(str, words))} && {new_command_line(tiles, train_split, val_split, annotations)}"
