"""How large the network sees a picture, so that objects have enough cells and a step does not take too long."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from maskline_train.new.choices.choice import Choice
from maskline_train.new.survey import Survey
from maskline_train.spec import MaskHeadSpec, PreprocessingSpec
from maskline_train.spec.backbone import STRIDES
from maskline_train.spec.preprocessing import CANVAS_MULTIPLE

# The mask branch samples an object at 14 x 14 places of the finest level: in an object of as many cells each sample is
# one of its own; smaller ones are guessed between cells, and of larger ones no mask gets finer. Worth it where steps
# stay quick.
GOOD_PX = MaskHeadSpec().pooled_side * STRIDES[0]
FAIR_PX = 8 * STRIDES[0]  # a coarse outline still; worth slower steps, and fewer images in each
LEAST_PX = 3 * STRIDES[0]  # below, what the finest level tells of an object is a few numbers
MOST_ENLARGED = 4.0  # beyond, the picture has nothing more to show


@dataclasses.dataclass(frozen=True)
class Room:
    """What a device has time for.

    Attributes:
        least_px: shorter sides below show too little of what is around an object.
        quick_px: side of a square of the area that a step is quick with.
        most_px: side of a square of the largest area worth waiting for.
    """

    least_px: int
    quick_px: int
    most_px: int


# Measured: coins of 40 px in pictures of 152 px are found at 256 px as at 320 and 384 px; bacteria and cells of 30 to
# 40 px are better found at 600 px by fewer images a step than at 400 px (docs/data/your_data.md).
CPU = Room(least_px=320, quick_px=320, most_px=768)
GPU = Room(least_px=480, quick_px=1024, most_px=1024)  # about the area of 800 x 1333


@dataclasses.dataclass(frozen=True)
class NetworkSize:
    """The size of pictures for the network, and what objects become."""

    shorter_side_px: int
    longer_side_px: int
    object_px: float  # the middle object's side
    small_px: float  # the side below which a tenth of the objects are


def network_size(found: Survey, room: Room) -> NetworkSize:
    """As large as the middle object needs, within what the device has time for."""
    aspect = float(np.quantile(found.sizes.max(axis=1) / found.sizes.min(axis=1), 0.95))
    aspect = min(aspect, 2.0)
    share = float(np.median(found.sides() / found.shorter_sides()[found.image_of]))  # of the picture's shorter side
    needed, fair = GOOD_PX / share, FAIR_PX / share
    quick, most = (side / math.sqrt(aspect) for side in (room.quick_px, room.most_px))
    wanted = min(needed, max(quick, min(fair, most)), MOST_ENLARGED * float(np.median(found.shorter_sides())))
    shorter = max(_whole(wanted), min(room.least_px, _whole(MOST_ENLARGED * float(found.shorter_sides().max()))))
    longer = max(shorter, math.ceil(shorter * aspect / CANVAS_MULTIPLE - 0.3) * CANVAS_MULTIPLE)
    sides = found.sides() * found.scales(shorter, longer)[found.image_of]
    return NetworkSize(shorter, longer, float(np.median(sides)), float(np.quantile(sides, 0.1)))


def _whole(side: float) -> int:
    """The multiple of the body's stride that is nearest, at least one."""
    return max(1, round(side / CANVAS_MULTIPLE)) * CANVAS_MULTIPLE


def size_choices(found: Survey, size: NetworkSize, spec: PreprocessingSpec) -> list[Choice]:
    """Sides and canvases; a network that pads to a multiple keeps doing so."""
    low, high = (int(side) for side in (found.shorter_sides().min(), found.shorter_sides().max()))
    pictures = f"{low}" if low == high else f"{low} to {high}"
    sides = f"{np.median(found.sides()):.0f} px"
    cells, samples = size.object_px / STRIDES[0], MaskHeadSpec().pooled_side
    enough = "enough for" if cells >= 0.9 * samples else "fewer than"
    reason = (
        f"Shorter sides of the pictures are {pictures} px and the middle object {sides}; here it becomes "
        f"{size.object_px:.0f} px, {cells:.0f} cells of the finest level, {enough} the {samples} samples of the mask "
        "branch. A tenth of the objects is below "
        f"{size.small_px:.0f} px."
    )
    shorter, longer = size.shorter_side_px, size.longer_side_px
    choices = [
        Choice("model.preprocessing.shorter_side_px", shorter, reason),
        Choice("model.preprocessing.longer_side_px", longer, ""),
    ]
    if spec.canvas_multiple is None:
        canvases = (
            ((shorter, longer), (longer, shorter), (longer, longer)) if longer > shorter else ((shorter, longer),)
        )
        said = "For lying, standing and mixed pictures of a batch." if longer > shorter else ""
        choices.append(Choice("model.preprocessing.canvases", canvases, said))
    return choices


def smaller_size(found: Survey, room: Room, size: NetworkSize, share: float) -> NetworkSize | None:
    """A size of about that share of another one's area; None where that is as small as the room has it."""
    side = math.sqrt(share * size.shorter_side_px * size.longer_side_px)
    smaller = network_size(found, dataclasses.replace(room, most_px=max(room.quick_px, int(side))))
    return smaller if smaller.shorter_side_px < size.shorter_side_px else None


def tile_px(found: Survey, size: NetworkSize, room: Room) -> int | None:
    """The side of tiles in which the middle object would be large enough; None where pictures are well as they are."""
    if size.small_px >= LEAST_PX and size.object_px >= FAIR_PX / 2:
        return None
    wanted = room.quick_px * float(np.median(found.sides())) / FAIR_PX
    # Most objects are whole in some tile, by the usual overlap; larger ones are found in the picture as a whole.
    whole = 4 * float(np.quantile(found.boxes.max(axis=1), 0.9))
    tile = max(_whole(side) for side in (wanted, whole, room.quick_px / MOST_ENLARGED))
    return tile if tile < found.shorter_sides().max() else None
