"""Who takes a training step, on what, and who cannot on this device."""

from __future__ import annotations

import dataclasses
from typing import Literal

from maskline_train.training.report import STEPS_UNREAD

OURS, COMPILED = "maskline", "maskline, compiled"
RECORDED, BOTH = "maskline, recorded", "maskline, compiled, recorded"
OUR_SIDES = (OURS, COMPILED, RECORDED, BOTH)
THEIRS, AUTOCAST = "torchvision", "torchvision, autocast"
CHANNELS_LAST = "torchvision, autocast, channels_last"
SIDES = (*OUR_SIDES, THEIRS, AUTOCAST, CHANNELS_LAST)

Device = Literal["cpu", "cuda"]
# Whom the gains are told against: who computes in the type that ours computes in.
PEERS: dict[Device, str] = {"cpu": THEIRS, "cuda": AUTOCAST}
# Steps between two looks of ours at its losses, as in `fit`; as many are timed together.
STEPS: dict[Device, int] = {"cpu": 1, "cuda": STEPS_UNREAD}
BATCHES: dict[Device, tuple[int, ...]] = {"cpu": (2,), "cuda": (2, 8, 16)}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What one step computes on.

    Attributes:
        height: of the canvas, px.
        width: of the canvas, px.
        objects: made ones an image.
        batch: images.
        device: of both sides.
    """

    height: int
    width: int
    objects: int
    batch: int
    device: Device = "cpu"


def left_out(device: Device, *, quick: bool) -> dict[str, str]:
    """Which sides and which counts a run does without, and why."""
    found = dict.fromkeys((COMPILED, BOTH), "a smoke run, and it compiles for minutes") if quick else {}
    if device == "cpu":
        found |= dict.fromkeys((COMPILED, RECORDED, BOTH), "`fit` compiles and records on a GPU alone")
        found |= dict.fromkeys((AUTOCAST, CHANNELS_LAST), "on a CPU both sides compute in float32")
        found |= dict.fromkeys(("launches", "synchronisations"), "a CPU computes at the call: nothing to count")
    return found
